"""New words: what they are read as, what trains, and that diffusers reads the same from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.contracts import Model, Part
from core.errors import OchreError
from core.families._saving import save_folder
from core.networks._new_words import NewWord
from core.networks.embedding import Embedding
from core.registry import registry

FAMILIES = ["sd15", "sdxl"]


def model_of(family: str) -> Model:
    return registry("families").get(family)().tiny()


def attached(family: str = "sd15", **settings: Any) -> tuple[Model, NewWord]:
    model = model_of(family)
    torch.manual_seed(5)
    word = Embedding(**{"token": "zqx", "vectors": 3, **settings}).attach(model, {})
    assert isinstance(word, NewWord)
    return model, word


def encoded(family: str, model: Model, text: str) -> dict[Part, dict[str, torch.Tensor]]:
    made = registry("families").get(family)()
    return {part: made.encode_text(model, part, [text])[0] for part in made.text_parts}


def moved(word: NewWord) -> None:
    """As if it had been trained."""
    with torch.no_grad():
        for vectors in word.vectors.values():
            vectors += 0.5 * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["zqx", "a photo of ZQX, on grass", "zqx and zqx!"])
def test_diffusers_reads_the_same_from_the_file(family: str, text: str, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    folder = save_folder(model_of(family), tmp_path / "base")
    model, word = attached(family)
    moved(word)
    (tensors,) = word.beside(lambda part, path: path).values()
    save_file(tensors, tmp_path / "zqx.safetensors")
    kind = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}[family]
    pipeline: Any = kind.from_pretrained(folder)
    ours = encoded(family, model, text)
    with torch.no_grad():
        if family == "sd15":
            pipeline.load_textual_inversion(str(tmp_path / "zqx.safetensors"), token="zqx")
            theirs = pipeline.encode_prompt(text.lower(), "cpu", 1, False)[0][0]
            torch.testing.assert_close(ours["text_1"]["hidden"], theirs, rtol=0, atol=1e-5)
            return
        loaded = load_file(tmp_path / "zqx.safetensors")
        encoders = [(pipeline.text_encoder, pipeline.tokenizer), (pipeline.text_encoder_2, pipeline.tokenizer_2)]
        for (encoder, tokenizer), name in zip(encoders, ("clip_l", "clip_g"), strict=True):
            inner = getattr(encoder, "text_model", encoder)
            inner.eos_token_id = tokenizer.eos_token_id  # the 2 of old configs has new words taken for the end
            pipeline.load_textual_inversion(loaded[name], token="zqx", text_encoder=encoder, tokenizer=tokenizer)
        hidden, _, pooled, _ = pipeline.encode_prompt(text.lower(), device="cpu", do_classifier_free_guidance=False)
    both = torch.cat([ours["text_1"]["hidden"], ours["text_2"]["hidden"]], dim=-1)
    torch.testing.assert_close(both, hidden[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours["text_2"]["pooled"], pooled[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_other_texts_are_read_as_before(family: str) -> None:
    before = encoded(family, model_of(family), "a red zebra, ((running))")
    model, word = attached(family)
    moved(word)
    for part, tensors in encoded(family, model, "a red zebra, ((running))").items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, before[part][name], rtol=0, atol=0)


def test_only_the_vectors_learn() -> None:
    model, word = attached()
    encoded("sd15", model, "a zqx")["text_1"]["hidden"].square().sum().backward()
    learned = {name for name, p in word.named_parameters() if p.grad is not None and p.grad.any()}
    assert learned == {"vectors.text_1"}
    assert all(p.grad is None for p in model.parts["text_1"].parameters())
    (group,) = word.groups({})
    assert (group["name"], group["lr"]) == ("embedding zqx text_1", 1e-3)


def test_it_begins_as_the_words_that_were_given() -> None:
    model, word = attached(initial_text="red zebra")
    table = model.parts["text_1"].get_input_embeddings().weight  # type: ignore[operator]
    ids = model.tokenizers["text_1"]("red zebra", add_special_tokens=False).input_ids
    wanted = torch.stack([table[ids[place % len(ids)]] for place in range(3)])
    assert torch.equal(word.vectors["text_1"], wanted)


def test_without_words_it_begins_as_the_known_vary() -> None:
    model, word = attached(vectors=75)
    table = model.parts["text_1"].get_input_embeddings().weight.double()  # type: ignore[operator]
    vectors = word.vectors["text_1"].double()
    assert vectors.std().item() == pytest.approx(table.std().item(), rel=0.1)
    _, again = attached(vectors=75)
    assert torch.equal(again.vectors["text_1"], word.vectors["text_1"]), "the seed decides"


def test_disabled_it_is_what_it_began_as() -> None:
    model, word = attached()
    before = encoded("sd15", model, "a zqx")["text_1"]["hidden"]
    moved(word)
    after = encoded("sd15", model, "a zqx")["text_1"]["hidden"]
    with word.disabled():
        assert torch.equal(encoded("sd15", model, "a zqx")["text_1"]["hidden"], before)
    assert torch.equal(encoded("sd15", model, "a zqx")["text_1"]["hidden"], after)
    assert not torch.equal(after, before)


def test_the_length_is_kept_only_where_asked_for() -> None:
    model, word = attached(preserve_norm=True)
    moved(word)
    word.after_step()
    table = model.parts["text_1"].get_input_embeddings().weight.double()  # type: ignore[operator]
    median = sorted(table.norm(dim=1).tolist())[(len(table) - 1) // 2]
    assert word.vectors["text_1"].norm(dim=1).tolist() == pytest.approx([median] * 3, rel=1e-5)
    _, free = attached()
    moved(free)
    lengths = free.vectors["text_1"].norm(dim=1).clone()
    free.after_step()
    assert torch.equal(free.vectors["text_1"].norm(dim=1), lengths)


def test_several_words() -> None:
    model, first = attached(vectors=2)
    second = Embedding(token="wvy", vectors=3).attach(model, {})
    moved(first)
    ids = model.words["text_1"]
    assert [len(tokens) for tokens in ids.values()] == [2, 3]
    alone, _ = attached(vectors=2)
    words = encoded("sd15", model, "zqx")["text_1"]["hidden"]
    assert not torch.equal(words, encoded("sd15", model, "wvy")["text_1"]["hidden"])
    assert not torch.equal(words, encoded("sd15", alone, "zqx")["text_1"]["hidden"])
    encoded("sd15", model, "a wvy")["text_1"]["hidden"].sum().backward()
    assert isinstance(second, NewWord)
    assert second.vectors["text_1"].grad is not None
    assert first.vectors["text_1"].grad is None or not first.vectors["text_1"].grad.any()


def test_words_that_exist_are_refused() -> None:
    model, _ = attached()
    with pytest.raises(OchreError, match="knows the word cat already"):
        Embedding(token="cat").attach(model, {})
    with pytest.raises(OchreError, match=r"zqx"):
        Embedding(token="zqx").attach(model, {})


def test_state_goes_round_and_fits_only_its_own_kind() -> None:
    _, word = attached()
    moved(word)
    state = {name: tensor.clone() for name, tensor in word.state().items()}
    _, fresh = attached()
    fresh.load_state(state)
    assert torch.equal(fresh.vectors["text_1"], word.vectors["text_1"])
    _, longer = attached(vectors=4)
    with pytest.raises(OchreError, match="don't fit the word"):
        longer.load_state(state)


@pytest.mark.parametrize(
    ("family", "names"),
    [("sd15", {"bundle_emb.zqx.string_to_param.*"}), ("sdxl", {"bundle_emb.zqx.clip_l", "bundle_emb.zqx.clip_g"})],
)
def test_bundled_names_are_those_that_a1111_reads(family: str, names: set[str]) -> None:
    _, word = attached(family, file="bundled")
    assert set(word.export(lambda part, path: path)) == names
    assert word.beside(lambda part, path: path) == {}
