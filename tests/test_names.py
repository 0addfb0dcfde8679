"""Names that become folders: plain ones pass, all others are refused by one message."""

import pytest

from gaplib.names import plain

BAD = ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "a\nb", "a\0b", " a", "a ", "\ud800", "x" * 300, None, 3, b"a"]


@pytest.mark.parametrize("name", BAD)
def test_names_that_could_leave_their_folder_are_refused(name):
    with pytest.raises(ValueError, match="is no name of a dataset: give a plain name for a folder") as error:
        plain(name, "dataset")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("name", ["clipart-500", "mine-e7cba5", "my pairs-1", "hf-org-CLIP-v1.5", "données", "..x"])
def test_plain_names_pass(name):
    assert plain(name, "dataset") == name
