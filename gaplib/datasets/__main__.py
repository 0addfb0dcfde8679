"""Which of the datasets to download are here, and where to get the others: `make data`."""

from importlib import import_module

from gaplib import paths
from gaplib.datasets import REGISTRY

MODULES = [import_module(function.__module__) for function in REGISTRY.values()]
SOURCES = [module.SOURCE for module in MODULES if hasattr(module, "SOURCE")]


def describe(source):
    """Where a dataset is had, on which terms, what its folder must hold, and what of that it does."""
    found = source.look()
    n = sum(path is not None for path in found.values())
    state = "complete" if n == len(found) else "incomplete" if n else "not here"
    lines = [f"{source.name}: {state}", f"  what     {source.title}", f"  from     {source.where}"]
    lines += [f"  terms    {source.terms}", f"  cite     {source.citation}"]
    lines.append(f"  into     {source.folder}/")
    for what, path in found.items():
        if path is None:
            lines.append(f"  missing  {' or '.join(source.pieces[what])}: {what}")
        else:
            lines.append(f"  found    {path.relative_to(source.folder).as_posix()}: {what}")
    return "\n".join(lines)


def main():
    free = [source.name for source in SOURCES if source.free]
    print(f"No credentials are needed for {', '.join(free)}.")
    print(f"Datasets go under {paths.downloads('')}; GAPLIB_DATASETS=FOLDER names another place.", end="\n\n")
    print("\n\n".join(describe(source) for source in SOURCES))


if __name__ == "__main__":
    main()
