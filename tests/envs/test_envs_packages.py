"""What is installed: hashes of all pins, licences that are known and allowed, a bill of materials."""

import json
import re
import shutil
import subprocess

import pytest
from packaging.tags import parse_tag

from envs import check_machine, packages, write_licences, write_locked, write_sbom

ENVIRONMENTS = sorted(packages.LISTS)


@pytest.fixture(scope="module")
def bill(project_root):
    return json.loads((project_root / "envs" / "sbom.cdx.json").read_text())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_pin_has_hashes(environment):
    assert write_locked.problems(environment) == []
    for path in sorted(write_locked.LOCKED.glob(f"{environment}*.txt")):
        text = path.read_text()
        entries = re.findall(r"^([\w-]+)==([\w.+]+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.MULTILINE)
        assert {name: version for name, version, _ in entries} == packages.pins(path)
        assert text.count("==") == len(entries), path


def test_a_pin_without_a_hash_and_one_of_another_version_are_said(tmp_path, monkeypatch):
    (tmp_path / "docs.txt").write_text("furo==1.0 \\\n    --hash=sha256:0\nsphinx==9.0.4 \\\n    --hash=sha256:0\n")
    monkeypatch.setattr(write_locked, "LOCKED", tmp_path)
    said = write_locked.problems("docs")
    assert any(re.match(r"furo: envs/docs.txt has \S+, envs/locked has 1.0; run", line) for line in said)
    assert any(line.startswith("alabaster: envs/docs.txt has 1.0.0, envs/locked has nothing") for line in said)
    assert not any(line.startswith("sphinx:") for line in said)


def wheel(name: str, digest: str) -> dict:
    return {"url": f"https://x/{name}", "hashes": {"sha256": digest}}


def test_the_files_that_pip_may_choose_are_those_of_linux_and_of_each_python():
    wanted = {minor: write_locked.tags_of(minor) for minor in (11, 12)}
    names = {
        "p-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": "a",
        "p-1-cp311-cp311-manylinux_2_28_x86_64.whl": "b",
        "p-1-cp312-cp312-manylinux_2_28_x86_64.whl": "c",
        "p-1-cp312-cp312-manylinux_2_28_aarch64.whl": "of another machine",
        "p-1-cp311-cp311-win_amd64.whl": "of another system",
        "p-1-cp311-cp311-musllinux_1_2_x86_64.whl": "of another C library",
        "p-1-cp313-cp313t-manylinux_2_28_x86_64.whl": "of another Python",
    }
    package = {"name": "p", "version": "1", "wheels": [wheel(name, digest) for name, digest in names.items()]}
    assert write_locked.chosen(package, wanted) == (["a", "b", "c"], True)
    alone = package | {"wheels": [], "sdist": {"hashes": {"sha256": "s"}}}
    assert write_locked.chosen(alone, wanted) == (["s"], False)
    some = alone | {"wheels": package["wheels"][:2]}
    with pytest.raises(ValueError, match=r"p 1 has no wheel for Python 3\.12$"):
        write_locked.chosen(some, wanted)
    for mine in wanted.values():
        assert parse_tag("py3-none-any") | parse_tag("cp37-abi3-linux_x86_64") <= mine


def test_pip_refuses_a_file_of_another_hash(tmp_path, project_root):
    """Nothing is asked for: the file lies beside, and its hash is wrong."""
    (tmp_path / "p-1-py3-none-any.whl").write_bytes(b"other")
    (tmp_path / "locked.txt").write_text(f"--only-binary :all:\np==1 \\\n    --hash=sha256:{64 * '0'}\n")
    hashed = re.search(r"^PIP := (.+)$", (project_root / "Makefile").read_text(), re.MULTILINE)[1].split()
    hashed += re.search(r"^HASHED := \$\(PIP\) (.+)$", (project_root / "Makefile").read_text(), re.MULTILINE)[1].split()
    python = project_root / ".venv" / "bin" / "python"
    command = [str(python), *hashed, "--no-index", "--find-links", ".", "--target", "to", "-r", "locked.txt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PIP_CONFIG_FILE": "/dev/null"})
    assert done.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="make plans the installation")
@pytest.mark.parametrize("target", [".venv/installed", ".venv-docs/installed", ".venv-importers/installed"])
def test_make_installs_by_hashes_unless_told_otherwise(target, project_root):
    def planned(*more):
        command = ["make", "--dry-run", "--always-make", target, *more]
        return subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=True).stdout

    by_hashes = [line for line in planned().splitlines() if "pip install" in line]
    assert by_hashes
    assert all("--require-hashes" in line and "-r envs/locked/" in line for line in by_hashes)
    assert all("--no-build-isolation" in line for line in by_hashes if "sources" in line)
    without = [line for line in planned("HASHES=no").splitlines() if "pip install" in line]
    assert len(without) == 1
    assert "hashes" not in without[0]


def test_a_machine_without_known_hashes_is_told(monkeypatch):
    monkeypatch.setattr(check_machine.platform, "machine", lambda: "aarch64")
    assert any("make HASHES=no" in line for line in check_machine.problems(hashes=True))
    assert not any("HASHES" in line for line in check_machine.problems(hashes=False))


def test_every_package_has_a_licence_that_is_allowed():
    assert write_licences.main(["--check"]) == []


@pytest.mark.parametrize("licence", ["unknown", "GPL-3.0-only", "MIT AND AGPL-3.0-only", "AGPL-3.0-only"])
def test_a_licence_that_is_unknown_or_not_allowed_is_said(licence):
    written = write_licences.PAGE.read_text()
    changed = re.sub(r"^(\| pyyaml \| \S+ \|) MIT \|", rf"\1 {licence} |", written, count=1, flags=re.MULTILINE)
    assert changed != written
    said = write_licences.problems(changed, changed)
    assert said == [f"pyyaml (tagmask): {licence.split(' AND ')[-1]!r} is no licence that envs/packages.py allows"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"license_expression": "MIT AND Zlib", "license": "GPL"}, "MIT AND Zlib"),
        ({"license": "Apache 2.0"}, "Apache-2.0"),
        ({"license": "BSD 3-Clause License\n\nCopyright, AND all that"}, "BSD-3-Clause"),
        ({"license": "a text", "classifier": ["License :: OSI Approved :: MIT License"]}, "MIT"),
        ({"classifier": ["License :: OSI Approved :: MIT License", "License :: Other/Proprietary License"]}, None),
        ({"license": "ask me"}, None),
        ({}, None),
    ],
)
def test_a_licence_is_what_the_metadata_say(metadata, expected):
    assert packages.licence_of({"name": "p"} | metadata) == expected


def test_a_choice_of_licences_needs_one_that_is_allowed():
    assert packages.refused("tagmask", "p", "MIT OR GPL-3.0-only") == []
    assert packages.refused("tagmask", "p", "MPL-2.0 AND (GPL-2.0-only OR GPL-3.0-only)") == [
        "GPL-2.0-only OR GPL-3.0-only"
    ]
    assert packages.refused("tagmask", "p", "GPL-3.0-or-later") == ["GPL-3.0-or-later"]
    assert packages.refused("tagmask", "docutils", "GPL-3.0-or-later") == []


OTHERS = re.compile(r"@licen[cs]e|SPDX-Licen[cs]e|Copyright \(c\)|Copyright ©|\bAll rights reserved", re.IGNORECASE)


def test_the_repository_holds_no_file_of_others(project_root):
    """A vendored file says whose it is: then docs/licences.md has to say so, too."""
    listed = subprocess.run(["git", "ls-files"], cwd=project_root, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a clone: what is kept is not known")
    own = {"LICENSE", "tests/envs/test_envs_packages.py"}
    code = [name for name in listed.stdout.splitlines() if name not in own and (project_root / name).is_file()]
    assert len(code) > 500
    named = [name for name in code if OTHERS.search((project_root / name).read_text(errors="replace"))]
    assert named == []
    assert not [name for name in code if re.search(r"\.min\.(js|css)$|\.woff2?$|\.ttf$|\.wasm$|\.so$", name)]


def test_the_bill_of_materials_is_of_what_is_installed(bill):
    assert bill == write_sbom.bill()


def test_the_bill_of_materials_has_the_form_of_cyclonedx(bill):
    """Fields that CycloneDX 1.6 requires, and no reference to what it does not hold."""
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert not {"serialNumber", "timestamp"} & (bill.keys() | bill["metadata"].keys())
    components = [bill["metadata"]["component"], *bill["components"]]
    for component in components:
        assert component.keys() >= {"type", "name", "version", "bom-ref", "purl", "licenses"}
        assert component["type"] in {"application", "library"}
        assert len(component["licenses"]) == 1
        assert component["licenses"][0].keys() == {"expression"}
        assert re.fullmatch(r"pkg:(pypi|generic)/[\w.-]+@[\w.+-]+", component["purl"])
    references = [component["bom-ref"] for component in components]
    assert len(set(references)) == len(references)
    assert {entry["ref"] for entry in bill["dependencies"]} == set(references)
    assert {one for entry in bill["dependencies"] for one in entry["dependsOn"]} < set(references)
    versions = {component["name"]: component["version"] for component in bill["components"]}
    assert versions == packages.pins(packages.ROOT / "constraints.txt")


def test_a_pin_that_nothing_asks_for_is_said(monkeypatch):
    pins = packages.pins
    monkeypatch.setattr(write_sbom, "pins", lambda path: pins(path) | {"stranger": "1.0"})
    with pytest.raises(SystemExit, match="pins what nothing asks for.*: stranger"):
        write_sbom.bill()
