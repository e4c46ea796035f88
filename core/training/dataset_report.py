"""The report on a run's pictures, with what the config says of how they are shown."""

from __future__ import annotations

from dataclasses import replace

from core.config.lora import LoraConfig
from core.dataset.manifest import Manifest
from core.dataset.report import CountTokens, DatasetReport
from core.dataset.reporting import make_report
from core.dataset.survey import Survey
from core.errors import PictureError
from core.families._prompt_weights import weighted_pieces
from core.training.planning import batch_plan, report_run


def report_of(config: LoraConfig, found: Survey, count_tokens: CountTokens | None = None) -> DatasetReport:
    """The report on what a survey found. Nothing is raised for pictures that stop a run: `problems` says so."""
    plan, problems = None, []
    try:
        plan = batch_plan(config, Manifest(tuple(found.entries), found.lines))
    except PictureError as error:
        problems.append(str(error))
    report = make_report(found, config.buckets, report_run(config, plan, count_tokens))
    return replace(report, problems=[*report.problems, *problems])


def clip_token_counter(weighted: bool = False) -> CountTokens:
    """Counts as the text encoders of SD 1.5 and SDXL do. Takes about two seconds, as it loads transformers.

    weighted: whether brackets give words weights (`base.weighted_prompts`), and so are no tokens themselves.
    """
    from core.weights.clip_tokenizer import clip_tokenizer

    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = 10**9  # else it warns of captions that are longer, as the report itself does

    def count(caption: str) -> int:
        pieces = [piece.text for piece in weighted_pieces(caption)] if weighted else [caption]
        return sum(len(tokenizer.tokenize(piece)) for piece in pieces)

    return count
