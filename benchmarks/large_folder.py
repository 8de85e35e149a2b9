"""Cost of a gate on a folder of ImageNet's size: time to its first batch, peak memory, and time per picture.

Makes 200,000 training and 50,000 test pictures of 224×224 pixels (JPEG, 1,000 classes) and opens them as a gate on a
ready-made pair does, each time in a fresh process: everything is decoded while the pass runs, nothing before. A bare
loop beside it decodes the same files with Pillow alone, on as many threads, and calls the same model.

The test pictures have different pixels, since a repeat is counted once: a few hundred are encoded, and of each of them
many are made by changing one number of its quantization tables, which changes every block. The training pictures are
links to others, one in each class.

    python benchmarks/large_folder.py --folder /tmp/large-folder
    python benchmarks/large_folder.py --folder /tmp/few --train 1000 --test 2000 --parts gate bare gate bare \
        --model benchmarks/large_folder.py:in_onnxruntime

`--model` names a function without arguments in a file, which gives a predictor: named arrays → named arrays. `--parts`
chooses what is run, and in which order: about eight minutes for all of it.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import INPUT, OUTPUT, Inputs, Outputs
from quantbench.backends.interface import Predictor

SIZE, CLASSES = 224, 1_000
N_TRAIN, N_TEST = 200_000, 50_000
# Pictures that are encoded, for either side, and changes of their tables that are surely seen.
ENCODED, PLACES, STEPS = 320, 16, 8
BATCH, CALIBRATION = 64, 256
PARTS = ("gate", "calibrated", "bare", "serial")
Predict = Callable[[Inputs], Outputs]


class Noted(Predictor):
    """A model, and the time of its first answer."""

    def __init__(self, predict: Predict) -> None:
        self.predict, self.first = predict, 0.0

    def __call__(self, inputs: Inputs) -> Outputs:
        """The model's outputs."""
        outputs = self.predict(inputs)
        self.first = self.first or time.time()
        return outputs


def linear() -> Predict:
    """A model of next to no cost, so that what is left is the cost of the data."""
    weights = np.random.RandomState(0).rand(3 * 56 * 56, CLASSES).astype(np.float32)

    def predict(inputs: Inputs) -> Outputs:
        (images,) = inputs.values()
        return {OUTPUT: images[:, :, ::4, ::4].reshape(len(images), -1) @ weights}

    return predict


def in_onnxruntime() -> Predict:
    """MobileNetV2 in fp32, as `compare_mobilenet.py` made it, in ONNX Runtime on one thread."""
    import onnxruntime

    path = Path("out/compare_mobilenet/fp32.onnx")
    if not path.exists():
        raise SystemExit(f"{path}: make it first: python benchmarks/compare_mobilenet.py")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()

    def predict(inputs: Inputs) -> Outputs:
        (images,) = inputs.values()
        (logits,) = session.run([given.name], {taken.name: images})
        # The model knows ten classes.
        return {OUTPUT: np.pad(logits, ((0, 0), (0, CLASSES - logits.shape[1])))}

    return predict


def make(folder: Path, n_train: int, n_test: int) -> float:
    """Makes the pictures, if they are not there; gives the seconds that took."""
    if (folder / "made").exists() and (folder / "made").read_text() == f"{n_train} {n_test}":
        return 0.0
    start = time.perf_counter()
    for side in ("train", "test"):
        for label in range(CLASSES):
            (folder / side / f"{label:04}").mkdir(parents=True, exist_ok=True)
    for at in range(n_test):
        content, base = encoded(at % ENCODED), at // ENCODED
        (folder / "test" / f"{at % CLASSES:04}" / f"{at:06}.jpg").write_bytes(changed(content, base))
    for at in range(n_train):
        first = folder / "train" / f"{at % CLASSES:04}" / f"{at % CLASSES:06}.jpg"
        if at < CLASSES:
            first.write_bytes(changed(encoded(ENCODED + at % ENCODED), at // ENCODED))
        else:
            os.link(first, first.with_name(f"{at:06}.jpg"))
    (folder / "made").write_text(f"{n_train} {n_test}")
    return time.perf_counter() - start


_ENCODED: dict[int, bytes] = {}


def encoded(seed: int) -> bytes:
    """A picture that compresses as a photograph does, about 20 kB."""
    from PIL import Image

    if seed not in _ENCODED:
        random = np.random.RandomState(seed)
        x = np.linspace(0, 9, SIZE)
        waves = [np.sin(x * k + x[:, None] * (k + random.rand())) * 80 + 128 for k in (1, 2, 3)]
        coarse = random.randn(56, 56, 3).repeat(4, 0).repeat(4, 1) * 20
        pixels = np.stack(waves, -1) + coarse + random.randn(SIZE, SIZE, 3) * 4
        stream = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=80)
        _ENCODED[seed] = stream.getvalue()
    return _ENCODED[seed]


def changed(content: bytes, number: int) -> bytes:
    """A JPEG with one number of its first quantization table changed, by `number`; itself for 0."""
    if number == 0:
        return content
    place, step = number % PLACES, number // PLACES + 1
    if step > STEPS * 2:
        raise SystemExit(f"change {number}: more pictures than can be told apart")
    at = content.index(b"\xff\xdb") + 5 + place
    return content[:at] + bytes([content[at] + step]) + content[at + 1 :]


def predictor_of(named: str) -> Predict:
    """The predictor of `file.py:function`."""
    file, _, function = named.rpartition(":")
    spec = importlib.util.spec_from_file_location("model_of_large_folder", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{file}: no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Predict = getattr(module, function)()
    return made


def gate(folder: Path, model: str, calibrate: bool, passes: int) -> dict[str, Any]:
    """Opens the folder and passes its test side; in a process of its own."""
    from quantbench.config.schema import DataConfig
    from quantbench.data.opening import open_splits
    from quantbench.measure.evaluation import evaluate, inputs_of

    config = DataConfig.model_validate({"name": "image_folder", "root": str(folder), "size": SIZE})
    splits = open_splits(config, "large_folder", as_used=True)
    calibrated_s = None
    if calibrate:
        start = time.perf_counter()
        for _ in inputs_of(splits.calibration, BATCH, CALIBRATION):
            pass
        calibrated_s = time.perf_counter() - start
    noted = Noted(predictor_of(model))
    seconds, of_cpu = [], []
    for _ in range(passes):
        start, busy = time.perf_counter(), time.process_time()
        found = evaluate(noted, splits.test, batch_size=BATCH)
        seconds.append(time.perf_counter() - start)
        of_cpu.append(time.process_time() - busy)
    return {
        "first_batch_at": noted.first,
        "calibration_s": calibrated_s,
        "pass_s": seconds,
        "cpu_s": of_cpu,
        "n": len(found.scores),
        "peak_mb": peak_mb(),
        "torch": "torch" in sys.modules,
    }


def bare(folder: Path, model: str, serial: bool, limit: int) -> dict[str, Any]:
    """Decodes the same files with Pillow alone and calls the same model."""
    predict = predictor_of(model)
    files = sorted((folder / "test").glob("*/*.jpg"))[:limit]
    start, busy = time.perf_counter(), time.process_time()
    for images in bare_batches(files, 1 if serial else os.cpu_count() or 1):
        predict({INPUT: images})
    seconds, of_cpu = time.perf_counter() - start, time.process_time() - busy
    return {"pass_s": [seconds], "cpu_s": [of_cpu], "n": len(files), "peak_mb": peak_mb()}


def bare_batches(files: list[Path], threads: int) -> Iterator[NDArray[np.float32]]:
    from PIL import Image

    scale = np.array([1 / (255 * 0.25)] * 3, np.float32).reshape(1, 3, 1, 1)

    def decoded(file: Path) -> NDArray[np.uint8]:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)

    def batch(start: int) -> NDArray[np.uint8]:
        return np.stack([decoded(file) for file in files[start : start + BATCH]])

    starts = range(0, len(files), BATCH)
    if threads == 1:
        yield from (batch(start) * scale for start in starts)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(batch, start) for start in starts[: 2 * threads]]
        for at in range(len(starts)):
            images = waiting.pop(0).result()
            if at + 2 * threads < len(starts):
                waiting.append(pool.submit(batch, starts[at + 2 * threads]))
            yield images * scale


def peak_mb() -> float:
    """Most memory that this process had resident, MB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def in_a_process(arguments: list[str], cache: str) -> tuple[dict[str, Any], float]:
    """Runs a part of this script in a process of its own; gives what it found, and when it was started."""
    started = time.time()
    child = subprocess.run(  # noqa: S603 — this script
        [sys.executable, __file__, *arguments],
        env={**os.environ, "QUANTBENCH_CACHE": cache},
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise SystemExit(child.stderr)
    return json.loads(child.stdout.splitlines()[-1]), started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", default=f"{__file__}:linear")
    parser.add_argument("--train", type=int, default=N_TRAIN)
    parser.add_argument("--test", type=int, default=N_TEST)
    parser.add_argument("--part", choices=PARTS, help="in this process, for the script itself")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=("gate", "gate", "calibrated", "bare", "serial"))
    parser.add_argument("--limit", type=int, default=N_TEST)
    arguments = parser.parse_args()
    if arguments.part in ("gate", "calibrated"):
        calibrate = arguments.part == "calibrated"
        print(json.dumps(gate(arguments.folder, arguments.model, calibrate, 1 if calibrate else 2)))
        return
    if arguments.part:
        print(json.dumps(bare(arguments.folder, arguments.model, arguments.part == "serial", arguments.limit)))
        return
    made_s = make(arguments.folder, arguments.train, arguments.test)
    print(f"{arguments.train:,} training and {arguments.test:,} test pictures; made in {made_s:.0f} s")
    common = ["--folder", str(arguments.folder), "--model", arguments.model]
    with tempfile.TemporaryDirectory() as cache:
        for part in arguments.parts:
            found, started = in_a_process([*common, "--part", part], cache)
            wall, cpu = (
                ", ".join(f"{1e6 * seconds / found['n']:,.0f}" for seconds in found[key]) for key in ("pass_s", "cpu_s")
            )
            line = (
                f"{part}: {found['n']:,} pictures, {wall} µs each in a pass ({cpu} µs of CPU), peak "
                f"{found['peak_mb']:,.0f} MB"
            )
            if "first_batch_at" in found:
                line += f", first batch after {found['first_batch_at'] - started:.1f} s"
            if found.get("calibration_s"):
                line += f", of which {found['calibration_s']:.1f} s for {CALIBRATION} samples to calibrate with"
            print(line, flush=True)


if __name__ == "__main__":
    main()
