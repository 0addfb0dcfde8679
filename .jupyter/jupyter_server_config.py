"""JupyterLab as `make lab` starts it: rooted at the repository, and committed notebooks hold no outputs on disk.

Outputs stay on the screen until the page is closed; those of a whole run are kept in `build/{study}/`.
"""

from pathlib import Path

from nbformat import from_dict
from nbstripout import strip_output

SHOWN_ONLY = ("execution", "collapsed", "scrolled", "trusted", "editable", "slideshow")


def clear_outputs(model, path, **_):
    """Clear a notebook of `notebooks/` of what running it adds, before it is written."""
    if model["type"] != "notebook" or not path.strip("/").startswith("notebooks/"):
        return
    notebook = strip_output(from_dict(model["content"]), keep_output=False, keep_count=False, keep_id=True)
    for cell in notebook["cells"]:
        for key in SHOWN_ONLY:
            cell["metadata"].pop(key, None)
        if not cell["metadata"].get("jupyter", {}).get("source_hidden"):  # a folded cell, as solutions are, stays so
            cell["metadata"].pop("jupyter", None)
    notebook["metadata"]["language_info"] = {"name": "python"}  # and not this machine's version
    model["content"] = notebook


c.ServerApp.root_dir = str(Path(__file__).resolve().parents[1])  # noqa: F821
c.ServerApp.allow_root = True  # noqa: F821 - in a container everybody is
c.ContentsManager.pre_save_hook = clear_outputs  # noqa: F821
