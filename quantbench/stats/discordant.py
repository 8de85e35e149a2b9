"""The exact test on discordant pairs: did a model lose and gain samples as often as a fair coin would have it?"""

from quantbench.stats.paired import PairedOutcomes


def p_value_of_change(outcomes: PairedOutcomes) -> float:
    """Exact McNemar test: probability of a split of the changed samples at least as uneven as this one, by chance.

    A small value is evidence that the accuracy changed, up or down. A large one is no evidence that it did not:
    whether a change is small enough is asked of an interval and a bound.

    Args:
        outcomes: The counts of changed samples.

    Returns:
        Two-sided p-value in [0, 1]; 1 without a changed sample.

    Source:
        Q. McNemar, Psychometrika 12 (1947) 153-157, in its exact form: given how many samples changed, the lost among
        them are binomial with probability 1/2, as in A. Agresti, Categorical Data Analysis, 3rd ed. (2013), section
        11.1.2. Deviation: none; not the mid-p version, which does not promise its level (M. W. Fagerland, S. Lydersen
        and P. Laake, BMC Med. Res. Methodol. 13 (2013) 91).
    """
    changed = outcomes.lost + outcomes.gained
    if changed == 0:
        # Both tails of an empty binomial are certain; scipy refuses to be asked.
        return 1.0
    from scipy.stats import binomtest

    # Rounding can push a sum over all the tables past 1.
    return min(float(binomtest(outcomes.lost, changed, 0.5).pvalue), 1.0)
