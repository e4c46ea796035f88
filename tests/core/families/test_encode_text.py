"""Text encodings equal those of diffusers' pipelines, and CLIP skip those of a shorter encoder."""

import copy

import pytest
import torch

from core.contracts import Framing

LONG = ", ".join(f"tag number {number}" for number in range(60))
CAPTIONS = ["a red circle on a blue ground", "", "Two cats! (very close)!", LONG]
FRAMINGS = [Framing((600 + i, 800), (3, i), (512, 768)) for i in range(len(CAPTIONS))]


def encodings(family, model, captions):
    per_part = {part: family.encode_text(model, part, captions) for part in family.text_parts}
    return [{part: per_part[part][i] for part in family.text_parts} for i in range(len(captions))]


def test_conditions_are_those_of_the_pipeline(family, model, pipeline):
    ours = family.collate(encodings(family, model, CAPTIONS), FRAMINGS).tensors
    with torch.no_grad():
        theirs = pipeline.encode_prompt(
            CAPTIONS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    torch.testing.assert_close(ours["hidden"], theirs[0], rtol=0, atol=1e-5)
    if family.name == "sdxl":
        torch.testing.assert_close(ours["pooled"], theirs[2], rtol=0, atol=1e-5)
        assert ours["time_ids"].tolist()[1] == [601, 800, 3, 1, 512, 768]


def test_the_pooled_text_is_that_of_the_first_end_token(model, family):
    if family.name != "sdxl":
        pytest.skip("SD 1.5 uses no pooled text")
    encoder, tokenizer = model.parts["text_2"], model.tokenizers["text_2"]
    ours = torch.stack([one["pooled"] for one in family.encode_text(model, "text_2", CAPTIONS)])
    tokens = tokenizer(CAPTIONS, padding="max_length", max_length=77, truncation=True).input_ids
    ends = [ids.index(tokenizer.eos_token_id) for ids in tokens]
    assert len(set(ends)) == len(CAPTIONS) and ends[1] == 1 and ends[3] == 76
    hidden = encoder.text_model(torch.tensor(tokens)).last_hidden_state
    expected = encoder.text_projection(hidden[range(len(CAPTIONS)), ends])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_the_second_tokenizer_pads_with_0_and_the_first_with_the_end(model, family):
    pads = {"text_1": 49407, "text_2": 0}
    for part in family.text_parts:
        tokens = model.tokenizers[part](["a cat"], padding="max_length", max_length=77, truncation=True).input_ids[0]
        assert tokens[:4] == [49406, 320, 2368, 49407]
        assert set(tokens[4:]) == {pads[part]} and len(tokens) == 77


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_clip_skip_leaves_out_the_last_layers_of_sd15(family, model, skip):
    if family.name != "sd15":
        pytest.skip("SDXL always takes the last layer but one")
    model.clip_skip = skip
    ours = torch.stack([one["hidden"] for one in family.encode_text(model, "text_1", CAPTIONS)])
    shorter = copy.deepcopy(model.parts["text_1"])
    shorter.encoder.layers = shorter.encoder.layers[: 4 - skip]
    tokens = model.tokenizers["text_1"](
        CAPTIONS, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    torch.testing.assert_close(ours, shorter(tokens).last_hidden_state, rtol=0, atol=1e-5)


def test_a_batch_gives_what_single_captions_give(family, model):
    for part in family.text_parts:
        together = family.encode_text(model, part, CAPTIONS)
        alone = [family.encode_text(model, part, [caption])[0] for caption in CAPTIONS]
        for one, other in zip(together, alone, strict=True):
            assert one.keys() == other.keys() and one["hidden"].shape[0] == 77
            for name in one:
                torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-4)


def test_gradients_reach_the_first_layer_with_and_without_checkpointing(family, model):
    for part in family.text_parts:
        encoder = model.parts[part].train()
        found = []
        for checkpointing in (False, True):
            if checkpointing:
                encoder.gradient_checkpointing_enable({"use_reentrant": False})
            weight = next(p for name, p in encoder.named_parameters() if "layers.0.self_attn.q_proj.weight" in name)
            weight.requires_grad_(True).grad = None
            sum(
                tensor.square().sum() for tensor in family.encode_text(model, part, CAPTIONS[:2])[0].values()
            ).backward()
            found.append(weight.grad.clone())
        assert found[0].abs().max() > 0
        torch.testing.assert_close(found[0], found[1])
