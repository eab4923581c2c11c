"""Refusals and words of doubt in the languages of captioners: said as models say them they are seen, and captions of what is there are not taken for them."""

from __future__ import annotations

import pytest

from curation_assets.captions.model_phrases import DOUBTS, END, REFUSALS, WORD, doubts, refuses

REFUSED = {
    "en": ["I'm sorry, but I can't see the video.", "As an AI language model, I do not have access to images."],
    "de": [
        "Es tut mir leid, aber ich kann das Video nicht sehen.",
        "Ich kann dieses Bild leider nicht beschreiben.",
        "Als KI-Sprachmodell habe ich keine Augen.",
        "Bitte laden Sie das Video hoch.",
    ],
    "fr": [
        "Je suis désolé, mais je ne peux pas voir la vidéo.",
        "En tant qu'intelligence artificielle, je décris des textes.",
        "Aucune image n'a été fournie.",
        "Veuillez fournir une image.",
    ],
    "es": ["Lo siento, pero no puedo ver el vídeo.", "Como modelo de lenguaje, no tengo acceso a imágenes."],
    "pt": ["Desculpe, mas não consigo ver o vídeo.", "Como modelo de linguagem, não tenho acesso a imagens."],
    "it": ["Mi dispiace, ma non posso vedere il video.", "Come modello linguistico, non ho accesso alle immagini."],
    "ru": ["Извините, но я не могу просмотреть видео.", "Как языковая модель, я работаю с текстом."],
    "zh": [
        "抱歉，我无法查看视频内容。",
        "作为一个人工智能语言模型，我不能看图片。",
        "您没有提供任何图片。",
        "對不起，我無法觀看影片。",
        "请提供视频或图片。",
    ],
    "ja": ["申し訳ありませんが、動画を見ることはできません。", "私はAIなので、映像は見られません。", "画像を提供してください。"],
    "ko": ["죄송하지만 영상을 볼 수 없습니다.", "저는 동영상을 직접 볼 수 없습니다.", "이미지를 업로드해 주세요."],
}  # fmt: skip
DOUBTED = {
    "en": ["A person, possibly a cook, stirs a pot."],
    "de": [
        "Ein Mann, vermutlich ein Koch, rührt in einem Topf.",
        "Die Frau scheint auf jemanden zu warten.",
        "Es könnte ein Hund sein.",
    ],
    "fr": ["Un homme, probablement un cuisinier, remue une casserole.", "La femme semble attendre."],
    "es": ["Un hombre, tal vez un cocinero, remueve una olla.", "La mujer parece esperar."],
    "pt": ["Um homem, talvez um cozinheiro, mexe uma panela.", "A mulher parece esperar."],
    "it": ["Un uomo, forse un cuoco, mescola una pentola.", "La donna sembra aspettare."],
    "ru": ["Мужчина, вероятно повар, мешает в кастрюле.", "Кажется, женщина ждёт."],
    "zh": ["一个男人可能是厨师，正在搅拌锅里的东西。", "她似乎在等人。", "畫面模糊，難以判斷。"],
    "ja": ["男性はおそらく料理人で、鍋をかき混ぜている。", "女性は誰かを待っているようです。"],
    "ko": ["남자는 아마 요리사이며 냄비를 젓는다.", "여자가 누군가를 기다리는 것 같다.", "개처럼 보인다."],
}
GOOD = {
    "en": ["A man in a red coat walks a small dog along the beach.", "Hands provide food to a bird that waits."],
    "de": [
        "Die Sonne scheint auf ein Feld, und ein Hund läuft am Strand.",
        "Ein Mann bittet um Hilfe; sein Gesicht ist nicht zu sehen.",
        "Kinder, die sich wohl fühlen, spielen mit einem Roboter.",
    ],
    "fr": ["Un homme promène un petit chien le long de la plage.", "Une femme partage une image avec un ami."],
    "es": ["Un hombre pasea un perro pequeño por la playa.", "Una pareja sube una montaña con claro esfuerzo."],
    "pt": ["Um homem passeia com um cachorro na praia.", "Uma mulher envia uma carta."],
    "it": ["Un uomo porta a spasso un cagnolino sulla spiaggia.", "Una donna carica un'auto di valigie."],
    "ru": ["Мужчина гуляет с маленькой собакой по пляжу.", "Женщина загружает коробки в машину."],
    "zh": [
        "一个穿红色外套的男人牵着小狗在海滩上散步。",
        "墙上的牌子写着请勿吸烟，人们没有看手机。",
        "老師請學生上台提問。",
    ],
    "ja": ["赤いコートの男性が小さな犬と浜辺を歩いている。", "女性が画像を友人に見せて笑っている。"],
    "ko": ["빨간 코트를 입은 남자가 작은 개와 해변을 걷는다.", "여자가 친구에게 사진을 보여 준다."],
}  # fmt: skip


@pytest.mark.parametrize("language", REFUSALS)
def test_what_models_say_is_seen_in_its_language_and_where_that_is_unknown(language: str) -> None:
    assert REFUSALS.keys() == DOUBTS.keys() == GOOD.keys()
    for known in (language, f"{language}-XX", None, "und"):
        assert [t for t in REFUSED[language] if not refuses(t, known)] == []
        assert [t for t in DOUBTED[language] if not doubts(t, known)] == []
        assert [t for t in GOOD[language] if refuses(t, known) or doubts(t, known)] == []
    assert [t for t in DOUBTED[language] if refuses(t, None)] == [], "who doubts does not refuse"
    assert refuses("I'm sorry, I cannot describe the image.", language), "a model of any language falls into English"


def test_length_and_end_of_captions_without_spaces() -> None:
    assert WORD.findall("A dog's ball") == ["A", "dog's", "ball"]
    assert WORD.findall("小狗 runs，走") == ["小", "狗", "runs", "走"]
    assert WORD.findall("犬がボール2個") == ["犬", "が", "ボ", "ー", "ル", "2", "個"]
    assert WORD.findall("작은 개가 걷는다.") == ["작은", "개가", "걷는다"]
    for whole in ("A dog runs.", "小狗在跑。", "犬が走る（右へ）", "«Да»", "كلب يجري؟", "कुत्ता दौड़ता है।"):
        assert END.search(whole)
    for cut in ("A dog runs and", "小狗在", "犬が走り、"):
        assert not END.search(cut)
