"""The packages. Four folders lie at the root and are reached from `sfi_zoo` by links; where a clone or a zip has kept no links,
the folders themselves are built.
"""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
DATA = ("hub_configs", "recipes")
apart = {
    f"sfi_zoo.{name}": name for name in ("models", "metrics", *DATA) if not (ROOT / "sfi_zoo" / name).is_dir()
}
packages = {
    *find_packages(str(ROOT), include=["sfi_zoo", "sfi_zoo.*"]),
    *(f"sfi_zoo.{name}" for name in DATA),
}
for package, folder in apart.items():
    packages |= {package, *(f"{package}.{inner}" for inner in find_packages(str(ROOT / folder)))}

# with the root named, `pip install -e` writes a path, which type checkers of a caller follow; with folders apart it needs an import hook
setup(packages=sorted(packages), package_dir=apart or {"": "."})
