from __future__ import annotations

import io
import itertools
import logging
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from curation_assets_tests.caption_server import CUT, DROP, JUNK, CaptionServer, caption_of
from curation_assets_tests.fault_server import wait_until
from curation_assets_tests.shared_data import shared
from curation_assets_tests.tiny_vlm import write_tiny_idefics3, write_tiny_qwen2_vl
from curation_assets_tests.tiny_vlm_families import FAMILIES, VICUNA, write_tiny_llava
from curation_resources.captioners import server as server_module
from curation_resources.captioners.base import CaptionAnswer, CaptionRequest, LazyCaptioner
from curation_resources.captioners.line import CaptionLine
from curation_resources.captioners.server import OpenAICaptioner, ServerUnusable, _asked_pause
from curation_resources.captioners.transformers_model import (
    TransformersCaptioner,
    load_transformers_captioner,
    transformers_identity,
)
from curation_resources.captioners.vllm_model import VllmOptions, load_vllm_captioner
from curation_resources.weights import MissingWeights, WrongWeights


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def request(name: str) -> CaptionRequest:
    return CaptionRequest(name, "what is it?", lambda: [name.encode()])


def ask(server: CaptionServer, names: list[str], **settings: Any) -> dict[str, Any]:
    captioner = OpenAICaptioner(server.url, "m", **{"attempts": 3, **settings})
    answers = list(captioner.answer(map(request, names)))
    assert len(answers) == len({a.key for a in answers})
    return {a.key: a for a in answers}


def test_requests_say_what_the_recipe_says_and_answers_carry_their_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with CaptionServer() as server:
        answers = ask(server, ["a"], max_tokens=7, temperature=0.5, seed=3, key_env="MY_KEY")
    seen = server.seen[0]
    assert {k: seen.body[k] for k in ("model", "max_tokens", "temperature", "seed")} == {
        "model": "m", "max_tokens": 7, "temperature": 0.5, "seed": 3,
    }  # fmt: skip
    assert seen.body["messages"][0]["content"][-1] == {"type": "text", "text": "what is it?"}
    assert seen.headers["Authorization"] == "Bearer sk-secret"
    answer = answers["a"]
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == (caption_of([b"a"]), 100, 2)


def test_no_key_no_header() -> None:
    with CaptionServer() as server:
        ask(server, ["a"])
    assert "Authorization" not in server.seen[0].headers


def test_at_most_so_many_requests_run_at_the_same_time() -> None:
    eight = threading.Barrier(8, timeout=120)

    def pause(caption: str) -> float:
        eight.wait()
        return 0.0

    with CaptionServer(delay=pause) as server:
        ask(server, [str(i) for i in range(40)], concurrency=8)
    assert server.most_at_once == 8


@pytest.mark.parametrize("fault", [429, 408, 500, 503, DROP, CUT, JUNK])
def test_what_may_pass_is_tried_again_and_what_stays_is_a_row(fault: Any) -> None:
    stays = caption_of([b"stays"])
    with CaptionServer(fault=lambda c, times: fault if times == 0 or c == stays else None) as server:
        answers = ask(server, ["passes", "stays"])
    assert (answers["passes"].text, answers["passes"].attempts) == (caption_of([b"passes"]), 2)
    assert answers["stays"].text is None
    assert "after 3 attempts" in answers["stays"].error
    assert server.asked[stays] == 3


def test_a_request_that_the_server_will_not_take_is_not_repeated() -> None:
    with CaptionServer(
        fault=lambda c, _: 400 if c == caption_of([b"bad"]) else None, message="too many tokens"
    ) as server:
        answers = ask(server, ["bad", "good"])
    assert answers["bad"].error == "status 400: too many tokens"
    assert server.asked[caption_of([b"bad"])] == 1
    assert answers["good"].error is None


def test_a_server_that_is_too_slow_is_given_up() -> None:
    asked = threading.Event()
    with CaptionServer(delay=lambda _: float(asked.wait(250))) as server:
        answers = ask(server, ["a"], timeout_s=1, attempts=2)
        asked.set()
    assert "no answer within 1 s" in answers["a"].error


def test_retry_after_is_respected() -> None:
    with CaptionServer(fault=lambda _, times: 429 if times == 0 else None, headers={"Retry-After": "0.4"}) as server:
        started = time.perf_counter()
        ask(server, ["a"])
        assert time.perf_counter() - started >= 0.4
    assert 50 < _asked_pause(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert [_asked_pause(v) for v in (None, "", "soon", "-5", "nan", "1e9")] == [0, 0, 0, 0, 0, 300]


@pytest.mark.parametrize(("status", "hint"), [(401, "MY_KEY"), (403, "MY_KEY"), (404, "captions.model")])
def test_a_server_that_refuses_everything_is_asked_once_and_the_key_stays_secret(
    status: int, hint: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    caplog.set_level(logging.DEBUG)
    with CaptionServer(fault=lambda *_: status, message="bad key sk-secret") as server:
        with pytest.raises(ServerUnusable, match=hint) as caught:
            ask(server, [str(i) for i in range(50)], key_env="MY_KEY", concurrency=2)
        assert len(server.seen) <= 4
    assert "sk-secret" not in str(caught.value)
    assert "sk-secret" not in caplog.text
    assert "sk-secret" not in repr(OpenAICaptioner(server.url, "m", key_env="MY_KEY"))


def test_a_server_that_is_not_there_is_one_sentence_not_a_row_per_clip() -> None:
    captioner = OpenAICaptioner("http://user:pw@127.0.0.1:9/v1?k=sk", "m", attempts=2)
    with pytest.raises(ServerUnusable, match=r"server http://127\.0\.0\.1:9/v1 cannot be reached") as caught:
        list(captioner.answer([request("a"), request("b")]))
    assert "pw" not in str(caught.value)
    with pytest.raises(ValueError, match="not an http"):
        OpenAICaptioner("file:///etc/passwd", "m")


def test_frames_that_cannot_be_read_cost_only_their_own_answer() -> None:
    def gone() -> list[bytes]:
        raise OSError("tar is gone")

    with CaptionServer() as server:
        answers = list(OpenAICaptioner(server.url, "m").answer([CaptionRequest("x", "p", gone), request("a")]))
    assert {a.key: a.error for a in answers} == {"x": "frames cannot be read: tar is gone", "a": None}


def test_a_consumer_that_stops_stops_the_requests() -> None:
    turn, closed = itertools.count(), threading.Event()

    def pause(caption: str) -> float:
        if next(turn) > 0:
            closed.wait(250)
        return 0.0

    with CaptionServer(delay=pause) as server:
        source = iter(range(200))
        answers = OpenAICaptioner(server.url, "m", concurrency=2).answer(request(str(i)) for i in source)
        next(answers)
        wait_until(lambda: len(server.seen) == 3)  # the one that was answered, and one of each worker
        answers.close()
        closed.set()
        assert next(source) == 3
        assert "captions" not in {thread.name for thread in threading.enumerate()}, "nobody is left who could ask"


# ---- transformers


@pytest.fixture(scope="module", params=[write_tiny_idefics3, write_tiny_qwen2_vl], ids=["idefics3", "qwen2_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(request.param(tmp_path_factory.mktemp("vlm") / "tiny-vlm"))


def load(folder: Path, **settings: Any) -> TransformersCaptioner:
    return load_transformers_captioner(
        str(folder), **{"max_tokens": 8, "dtype": "float32", "device": "cpu", **settings}
    )


def picture_requests() -> list[CaptionRequest]:
    names = ["faces/2007_007763.jpg", "ocr/img_1.jpg", "faces/2008_001009.jpg", "ocr/img_2.jpg", "faces/city.jpg"]
    data = [shared(name).read_bytes() for name in names]
    prompts = [
        "describe",
        "describe this video",
        "describe this video clip in one or two sentences",
        "a dog",
        "the red house",
    ]
    return [
        CaptionRequest(f"k{i}", prompts[i], lambda i=i: data[i : i + 1 + i % 3] or data[:1])  # type: ignore[misc]
        for i in range(5)
    ]


def direct(folder: Path, request: CaptionRequest) -> str:
    """One request, by the library alone, without batching or padding."""
    import torch
    import transformers
    from PIL import Image

    processor = transformers.AutoProcessor.from_pretrained(folder)
    network = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    pictures = [Image.open(io.BytesIO(d)).convert("RGB") for d in request.load()]
    text = processor.apply_chat_template(
        [
            {
                "role": "user",
                "content": [*({"type": "image"} for _ in pictures), {"type": "text", "text": request.prompt}],
            }
        ],
        add_generation_prompt=True,
    )
    inputs = processor(text=[text], images=[pictures], return_tensors="pt")
    with torch.no_grad():
        output = network.generate(**inputs, max_new_tokens=8, do_sample=False)
    return str(processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])


def test_batched_answers_are_those_of_single_requests_and_stay_with_their_keys(folder: Path) -> None:
    requests = picture_requests()
    expected = {r.key: direct(folder, r) for r in requests}
    assert len(set(expected.values())) > 1
    captioner = load(folder, batch=4)
    answers = {a.key: a for a in captioner.answer(requests)}
    assert {k: a.text for k, a in answers.items()} == expected
    assert all(a.prompt_tokens and a.completion_tokens and a.completion_tokens <= 8 for a in answers.values())
    assert captioner.identity == transformers_identity(str(folder))


@pytest.mark.parametrize("family", FAMILIES)
def test_families_that_the_docs_name_are_asked_in_batches(family: str, tmp_path: Path) -> None:
    folder = Path(FAMILIES[family](tmp_path / "vlm"))
    requests = picture_requests()[:3]
    answers = {a.key: a for a in load(folder, batch=3).answer(requests)}
    assert {k: a.text for k, a in answers.items()} == {r.key: direct(folder, r) for r in requests}
    assert all(a.prompt_tokens for a in answers.values())


def test_a_model_without_a_template_says_how_it_gets_one(tmp_path: Path) -> None:
    folder = write_tiny_llava(tmp_path / "vlm")
    with pytest.raises(WrongWeights, match=r"no chat template.*chat_template\.jinja"):
        load(folder)
    before = transformers_identity(str(folder))
    (folder / "chat_template.jinja").write_text(VICUNA)
    assert transformers_identity(str(folder)) != before, "other questions are asked with it"
    assert next(load(folder).answer(picture_requests()[:1])).text is not None


def test_the_template_of_the_docs_is_the_one_that_was_tried() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "explanation" / "captions.md").read_text()
    assert VICUNA.strip() in page


def test_sampling_is_repeatable_by_its_seed(folder: Path) -> None:
    requests = picture_requests()
    one, same, other = (
        [a.text for a in load(folder, temperature=1.5, seed=seed).answer(requests)] for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_a_damaged_picture_costs_only_its_own_answer(folder: Path) -> None:
    good, other = picture_requests()[:2]
    bad = CaptionRequest("bad", "describe", lambda: [b"<html>"])
    answers = {a.key: a for a in load(folder).answer([good, bad, other])}
    assert "frames cannot be read" in str(answers["bad"].error)
    assert answers[good.key].text
    assert answers[other.key].text


def test_a_request_that_breaks_its_batch_is_alone_in_failing(folder: Path) -> None:
    good, other = picture_requests()[:2]
    marker = "<image>" if "idefics" in (folder / "config.json").read_text() else "<|image_pad|>"
    answers = {a.key: a for a in load(folder).answer([good, CaptionRequest("odd", marker, lambda: []), other])}
    assert "model failed" in str(answers["odd"].error)
    assert answers[good.key].text == direct(folder, good)
    assert answers[other.key].text == direct(folder, other)


def test_models_that_cannot_be_had_or_used_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        MissingWeights, match=r"caption model org/name are missing.*HF_HUB_OFFLINE.*set captions\.model"
    ):
        load_transformers_captioner("org/name")
    with pytest.raises(MissingWeights, match=r"no such folder; set captions\.model"):
        load_transformers_captioner(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WrongWeights, match="cannot be loaded"):
        load_transformers_captioner(str(tmp_path))


def test_without_vllm_one_sentence_says_what_installs_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation_resources.captioners.vllm_model.installed", lambda module: False)
    with pytest.raises(
        MissingWeights, match=r"needs vllm, which is not installed: pip install 'curation-assets\[vllm\]'"
    ):
        load_vllm_captioner(str(folder), VllmOptions())


def test_a_lazy_captioner_loads_once_and_only_when_it_is_asked() -> None:
    loads = []

    def load_server() -> OpenAICaptioner:
        loads.append(1)
        return OpenAICaptioner("http://127.0.0.1:9/v1", "m")

    lazy = LazyCaptioner(load_server)
    assert loads == []
    assert lazy.identity == lazy.identity == "m"
    assert loads == [1]


# ---- one stream of questions for several shards


class Noted:
    """A real captioner whose batches are noted."""

    asynchronous = True

    def __init__(self, captioner: TransformersCaptioner, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[list[str]] = []
        generate = captioner._generate

        def noted(batch: Any, inputs: Any) -> Any:
            self.batches.append([request.key for request, _ in batch])
            return generate(batch, inputs)

        monkeypatch.setattr(captioner, "_generate", noted)
        self.line = CaptionLine(captioner, 4)


def test_questions_of_the_next_shard_fill_the_batches_of_this_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = picture_requests()
    expected = {a.key: a.text for a in load(folder, batch=4).answer(requests)}
    noted = Noted(load(folder, batch=4), monkeypatch)
    first, second = requests[:2], requests[2:]
    assert noted.line.ask_ahead(second) == 3
    answers = {a.key: a.text for a in noted.line.answer(first)}
    assert set(answers) == {"k0", "k1"}
    answers |= {a.key: a.text for a in noted.line.answer(second)}
    assert answers == expected
    assert noted.batches == [["k0", "k1", "k2", "k3"], ["k4"]], "nothing is asked twice, and batches are full"


def test_a_line_that_nobody_waits_for_asks_no_more_than_it_may(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = Noted(load(folder, batch=1), monkeypatch)
    noted.line.most_ahead = 2
    assert noted.line.ask_ahead(picture_requests()) == 2
    assert noted.batches == [], "nobody has come yet"
    (answer,) = noted.line.answer([CaptionRequest("alone", "a dog")])
    assert answer.text is not None
    for thread in threading.enumerate():
        if thread.name == "caption-line":
            thread.join()
    assert noted.batches == [["alone"], ["k0"], ["k1"]]


def test_what_ends_a_line_is_told_to_all_who_wait_and_it_begins_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = load(folder, batch=1)
    line = CaptionLine(captioner, 4)
    answer = captioner.answer

    def broken(requests: Any) -> Any:
        yield from answer(iter([next(requests)]))
        raise OSError("the device is gone")

    monkeypatch.setattr(captioner, "answer", broken)
    line.ask_ahead(picture_requests()[3:])
    asking = line.answer(picture_requests()[:2])
    assert next(asking).key == "k0"
    with pytest.raises(OSError, match="the device is gone"):
        next(asking)
    monkeypatch.setattr(captioner, "answer", answer)
    assert {a.key for a in line.answer(picture_requests()[1:])} == {"k1", "k2", "k3", "k4"}


def test_a_captioner_that_leaves_a_question_open_leaves_nobody_waiting(folder: Path) -> None:
    class Forgetful:
        identity = "forgetful"

        def answer(self, requests: Any) -> Any:
            for request in requests:
                if request.key != "k1":
                    yield CaptionAnswer(request.key, "a text")

    line = CaptionLine(Forgetful(), 4)
    assert [a.key for a in line.answer(picture_requests()[:3])] == ["k0", "k2"]


def test_who_goes_before_all_was_answered_leaves_nothing_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = Noted(load(folder, batch=1), monkeypatch)
    noted.line.ask_ahead(picture_requests()[4:])
    asking = noted.line.answer(picture_requests()[:4])
    next(asking)
    asking.close()
    for thread in threading.enumerate():
        if thread.name == "caption-line":
            thread.join()
    assert len(noted.batches) <= 3
    assert ["k4"] not in noted.batches
