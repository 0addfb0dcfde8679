"""Run notebooks in one IPython shell, cell by cell, without a kernel: imports are paid for once.

`python shell.py PARAMETERS NOTEBOOK ...`, the parameters as JSON. The first cell that fails ends it, with its error.
"""

import json
import os
import sys

os.environ |= {"MPLBACKEND": "agg", "TQDM_DISABLE": "1"}


def run(shell, notebook, parameters):
    """Run one notebook in a fresh namespace, its `parameters` cell followed by those given that it declares."""
    with open(notebook, encoding="utf-8") as file:
        cells = json.load(file)["cells"]
    shell.reset(new_session=False)
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "%watermark" in source:
            continue
        shell.run_cell(source).raise_error()
        if "parameters" in cell["metadata"].get("tags", []):
            shell.user_ns |= {key: value for key, value in parameters.items() if key in shell.user_ns}


if __name__ == "__main__":
    from IPython.core.interactiveshell import InteractiveShell

    for path in sys.argv[2:]:
        print("#", path, flush=True)
        run(InteractiveShell.instance(), path, json.loads(sys.argv[1]))
