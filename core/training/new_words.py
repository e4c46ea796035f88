"""Whether the words that embeddings teach are ever read."""

from __future__ import annotations

from core.config.lora import LoraConfig
from core.dataset.batches import Plan
from core.errors import Problem, SettingsError
from core.networks.embedding import Embedding


def check_words(config: LoraConfig, plan: Plan) -> None:
    """SettingsError for an embedding whose word stands in no caption: its vectors would learn nothing."""
    problems = []
    for index, network in enumerate(config.networks):
        if isinstance(network, Embedding) and not _is_read(network.token.casefold(), plan):
            message = f"no caption has the word {network.token}; make it the trigger word of a concept"
            problems.append(Problem(f"networks.{index}.token", message))
    if problems:
        raise SettingsError(problems)


def _is_read(word: str, plan: Plan) -> bool:
    for pool in plan.pools:
        concept = plan.concepts[pool.concept]
        own = (caption for index in pool.entries for caption in plan.entries[index].captions)
        texts = [concept.trigger_word, concept.text.prefix, concept.text.suffix, *plan.lines.get(pool.concept, own)]
        if any(word in text.casefold() for text in texts):
            return True
    return False
