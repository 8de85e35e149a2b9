"""The layer that makes a quantized model worse, why, and how much: found, checked on data, and confirmed.

The flow is that of the debugging section of Nagel et al., "A White Paper on Neural Network Quantization",
arXiv:2106.08295, figure 12: one part is put back to floating point at a time, and what helps is looked into. Here each
step has its evidence: layers are ordered by how much of the error of the outputs goes with them, causes are computed on
the layer's own values, and what a layer costs is measured on the test set, in pairs, with an interval.
"""
