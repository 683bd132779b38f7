"""Spaces by name, from any folder; files by path."""

import pytest
from tiny_run import TINY

from nas.catalog import find_space, shipped
from nas.errors import SpaceError
from nas.study.check import check_space


def test_the_shipped_spaces_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(shipped()) == ["digits", "image", "image_conv", "mlp", "sequence", "text"]
    for name in shipped():
        space = find_space(name)
        check_space(space)
        assert space.name == name


def test_a_file_comes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image").write_text(TINY)
    assert len(find_space("image").slots) < 10
    (tmp_path / "digits").mkdir()
    assert len(find_space("digits").slots) > 10, "a folder of that name is no file"


def test_every_shipped_file_says_on_its_first_line_what_it_is_for():
    for name, path in shipped().items():
        assert path.read_text(encoding="utf-8").splitlines()[0].startswith(f"# {name} - ")


@pytest.mark.parametrize(
    ("spec", "needles"),
    [
        ("imag", ["no shipped space called 'imag'", "Did you mean 'image'?", "nor is there a file 'imag'"]),
        ("sapces/imag.yaml", ["no space file sapces/imag.yaml", "Did you mean 'image'?"]),
        ("", ["no shipped space called ''"]),
        ("zzz", ["no shipped space called 'zzz'. Known: digits, image, image_conv, mlp, sequence, text"]),
    ],
)
def test_a_miss_names_the_nearest(tmp_path, monkeypatch, spec, needles):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceError) as caught:
        find_space(spec)
    assert all(needle in str(caught.value) for needle in needles), str(caught.value)
