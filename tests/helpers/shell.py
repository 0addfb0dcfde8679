"""Run notebooks in one IPython shell, cell by cell, without a kernel: imports are paid for once.

`python shell.py STUDIES NOTEBOOK ...`: the studies as JSON, a list of parameters. What goes wrong in a study is left as
`{GAPLIB_ROOT}/{study}.error`, and the next one is run.
"""

import gc
import json
import os
import sys
from pathlib import Path

QUIET = {"MPLBACKEND": "agg", "TQDM_DISABLE": "1"}  # for the process that runs the notebooks, and no other


def run(shell, notebook, parameters):
    """Run one notebook in a fresh namespace, its `parameters` cell followed by those given that it declares."""
    from matplotlib import pyplot

    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    pyplot.close("all")  # as a kernel does with what it has shown
    shell.reset(new_session=False)
    gc.freeze()  # what is imported stays: to look through it again takes half a second a notebook
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "%watermark" in source:
            continue
        shell.run_cell(source).raise_error()
        if "parameters" in cell["metadata"].get("tags", []):
            shell.user_ns |= {key: value for key, value in parameters.items() if key in shell.user_ns}


def main(studies, notebooks):
    os.environ |= QUIET
    from IPython.core.interactiveshell import InteractiveShell

    from gaplib.study import NeedsLabels

    for parameters in studies:
        for notebook in notebooks:
            try:
                run(InteractiveShell.instance(), notebook, parameters)
            except NeedsLabels as ends:
                print(f"{Path(notebook).stem}: {ends}")
            except Exception as error:
                failed = Path(os.environ["GAPLIB_ROOT"]) / f"{parameters['study']}.error"
                failed.write_text(f"{Path(notebook).name}: {type(error).__name__}: {error}", encoding="utf-8")
                break


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
