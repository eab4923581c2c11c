"""What captioning models say instead of a caption, and by which they say that they do not know, in the languages in which people have captions made.

English, Chinese (both scripts), Japanese, Korean, German, French, Spanish, Portuguese, Italian and Russian. Captions of other languages are looked at by the English phrases alone. The phrases are those of
assistants, with their subject where a caption of a picture may use the verb itself: `ich kann ... nicht sehen`, not `nicht zu sehen`.

What belongs here: phrases by which captions are counted. What does not: what is taken out of captions (`removals.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

ENGLISH = "en"
NEAR = r"[^.!?。！？]{0,60}?"
"""Words between, within a sentence."""


def _any(*phrases: str) -> re.Pattern[str]:
    start = r"\b" if all(phrase.startswith(r"\b") for phrase in phrases) else ""  # once, which is several times as fast
    return re.compile(f"{start}(?:{'|'.join(phrase.removeprefix(start) for phrase in phrases)})", re.I)


REFUSALS: Mapping[str, re.Pattern[str]] = {
    "en": _any(
        r"\bi\s?(?:am|['’]m)\s(?:so\s)?(?:sorry|unable|not\sable)\b",
        r"\bsorry,?\s(?:but\s)?i\b",
        r"\bi\s(?:can\s?not|can['’]t|could\snot|couldn['’]t|won['’]t|do\snot|don['’]t)\s(?:see|view|watch|describe|provide|assist|help|access|identify|determine|have)\b",
        r"\bas\san?\s(?:ai|artificial|large\slanguage|language)\b",
        r"\b(?:no|the)\s(?:video|image|frames?|pictures?)\s(?:was|were|is|are|has\sbeen|have\sbeen)\s(?:not\s)?(?:provided|attached|uploaded|given|shared)\b",
        r"\bplease\s(?:provide|upload|share|attach)\b",
    ),
    "de": _any(
        r"\btut\smir\s(?:sehr\s)?leid,?\s(?:aber|doch|dass|ich|da)\b",
        r"\bentschuldigung,?\s(?:aber\s)?ich\b",
        rf"\b(?:ich\skann|kann\sich)\b{NEAR}\b(?:nicht|kein\w*)\s{NEAR}(?:sehen|ansehen|beschreiben|erkennen|identifizieren|zugreifen|helfen|bereitstellen|abspielen)\b",
        r"\bich\sbin\s(?:leider\s)?nicht\sin\sder\slage\b",
        r"\bich\shabe\s(?:leider\s)?keine(?:n)?\s(?:zugriff|zugang|möglichkeit)\b",
        r"\bals\s(?:eine?\s)?(?:ki\b|künstliche\sintelligenz|(?:großes\s|grosses\s)?sprachmodell|textbasiert\w*)",
        r"\b(?:kein|das|die|keine)\s(?:bild|video|bilder)\s(?:wurden?|ist|sind)\s(?:nicht\s)?(?:bereitgestellt|hochgeladen|angehängt|beigefügt|geteilt)\b",
        rf"\bbitte\s(?:laden|lade|stellen|stelle|teilen|teile|senden|sende)\b{NEAR}\b(?:video|bild|bilder|datei)\b",
    ),
    "fr": _any(
        r"\bdésolée?s?,?\s(?:mais\s)?je\b",
        r"\bje\sne\s(?:peux|puis|pourrais|vois|suis)\spas\b",
        r"\bje\sn['’]ai\spas\s(?:accès|la\s(?:possibilité|capacité))\b",
        r"\ben\stant\sque?\s?['’]?\s?(?:une?\s)?(?:ia\b|intelligence\sartificielle|modèle|assistant)",
        r"\b(?:aucune?\s)(?:image|vidéo)\sn['’](?:a\sété|est)\b",
        r"\b(?:l['’]image|la\svidéo|les\simages)\sn['’](?:a|ont)\spas\sété\s(?:fournie?s?|jointe?s?|téléchargée?s?|partagée?s?)",
        r"\b(?:veuillez|merci\sde)\s(?:me\s)?(?:fournir|partager|télécharger|joindre|envoyer)\b",
    ),
    "es": _any(
        r"\blo\ssiento,?\s(?:pero|no|como)\b",
        r"\bno\spuedo\s(?:ver|describir|identificar|ayudar\w*|acceder|proporcionar|determinar|visualizar)\b",
        r"\bno\s(?:tengo\sacceso|soy\scapaz)\b",
        r"\bcomo\s(?:una?\s)?(?:modelo\sde\slenguaje|ia\b|inteligencia\sartificial|asistente\sde)",
        r"\bno\sse\s(?:ha|han|me\sha)\s(?:proporcionado|adjuntado|subido|compartido)\b",
        r"\bpor\sfavor,?\s(?:proporcion|sub[ae]|compart|adjunt|envíe?)\w*",
    ),
    "pt": _any(
        r"\b(?:desculpe|desculpa|sinto\smuito|lamento),?\s(?:mas|não|eu|como)\b",
        r"\bnão\s(?:posso|consigo)\s(?:ver|descrever|identificar|ajudar|acessar|aceder|fornecer|determinar|visualizar)\b",
        r"\bnão\s(?:tenho\sacesso|sou\scapaz)\b",
        r"\bcomo\s(?:uma?\s)?(?:modelo\sde\slinguagem|ia\b|inteligência\sartificial|assistente\sde)",
        r"\bnenhuma?\s(?:vídeo|imagem)\sfoi\b",
        r"\bpor\sfavor,?\s(?:forneça|envie|compartilhe|carregue|anexe)\b",
    ),
    "it": _any(
        r"\bmi\sdispiace,?\s(?:ma|non|di)\b",
        r"\bnon\sposso\s(?:vedere|descrivere|identificare|aiutar\w*|accedere|fornire|determinare|visualizzare)\b",
        r"\bnon\s(?:ho\saccesso|sono\sin\sgrado)\b",
        r"\bcome\s(?:un['’\s]?)?(?:modello\s(?:linguistico|di\slinguaggio)|intelligenza\sartificiale|ia\b)",
        r"\bnessun[a'’]?\s?(?:video|immagine)\s(?:è\sstat\w|stat\w)\b",
        r"\b(?:si\sprega\sdi|per\sfavore,?)\s(?:fornir|fornisci|caric|condivid|invi)\w*",
    ),
    "ru": _any(
        r"\b(?:извините|простите|к\sсожалению),?\s(?:но\s)?я\b",
        r"\bя\sне\s(?:могу|вижу|имею|в\sсостоянии|способ\w+)\b",
        r"\bу\sменя\sнет\s(?:доступа|возможности)\b",
        r"\bкак\s(?:большая\s)?(?:языковая\sмодель|ии\b|искусственный\sинтеллект)",
        r"\b(?:видео|изображени\w+)\sне\s(?:было\s|были\s)?(?:предоставлен|загружен|прикреплен|прикреплён)\w*",
        r"\bпожалуйста,?\s(?:предоставьте|загрузите|пришлите|прикрепите|поделитесь)\b",
    ),
    "zh": _any(
        r"(?:抱歉|对不起|對不起|不好意思|很遗憾|很遺憾)[，,！!。 ]{0,2}(?:但是?)?(?:我|作为|作為|由于|由於|无法|無法|目前)",
        r"我(?:现在|目前|暂时)?(?:无法|無法|不能|没办法|沒辦法|没法|看不到|看不見|看不见)(?:直接)?(?:查看|观看|觀看|看到|访问|存取|识别|識別|辨识|提供|描述|打开|帮助|视频|影片|图|圖|该|您|你)",
        r"(?:作为|作為)(?:一[个個名款]|您的)?\s?(?:AI|人工智能|人工智慧|大?型?语言模型|大?型?語言模型|文本模型)",
        r"(?:没有|沒有|未|尚未)(?:被)?(?:提供|上传|上傳|附上|收到|看到)(?:任何)?(?:视频|視頻|影片|图片|圖片|图像|圖像|画面)",
        r"(?:请|請)(?:您|你)?(?:重新)?(?:提供|上传|上傳|分享|发送|發送|附上)",
    ),
    "ja": _any(
        r"申し訳(?:あり|ござい)ません",
        r"(?:すみません|ごめんなさい)(?:が|、|。)\s?(?:私|画像|動画|映像|この|その|AI)",
        r"(?:画像|動画|映像|ビデオ|内容|リンク)(?:を|に|の内容を)?(?:直接)?(?:見る|視聴する|確認する|説明する|特定する|アクセスする|提供する|閲覧する|再生する)ことは?が?(?:できません|できない)",
        r"(?:お手伝い|お答え|ご説明|ご提供)(?:することは?が?)?(?:できません|いたしかねます)",
        r"(?:私は|わたしは)?(?:AI|人工知能|(?:大規模)?言語モデル)(?:として|なので|であるため|ですので|のため)",
        r"(?:画像|動画|映像|ビデオ)(?:が|は)(?:提供|アップロード|添付|共有)されて(?:いません|いない)",
        r"(?:画像|動画|映像|ビデオ)を(?:提供|アップロード|添付|共有)して(?:ください|いただ)",
    ),
    "ko": _any(
        r"(?:죄송|미안)(?:합니다|하지만|해요|하게도)(?:만)?[,.]?\s",
        rf"(?:저는|제가|저로서는){NEAR}(?:수\s?없|수가\s없|못합니다)",
        r"(?:AI|인공지능|인공\s지능|(?:대규모\s)?언어\s?모델)(?:로서|으로서|이므로|이기\s때문|\s모델로서|\s어시스턴트)",
        r"(?:영상|비디오|동영상|이미지|사진)(?:이|가)\s(?:제공|업로드|첨부|공유)되지\s않",
        r"(?:영상|비디오|동영상|이미지|사진)(?:을|를)\s(?:다시\s)?(?:제공|업로드|첨부|공유)해\s?(?:주|주시)",
    ),
}  # fmt: skip
"""Language -> what a model says instead of a caption."""
DOUBTS: Mapping[str, re.Pattern[str]] = {
    "en": _any(
        r"\b(?:possibly|perhaps|maybe|probably|presumably|apparently|likely|might\sbe|may\sbe|could\sbe|appears?\sto|seems?\sto|looks?\slike\sit|unclear|uncertain"
        r"|hard\sto\s(?:say|tell)|not\s(?:clear|certain|visible))\b"
    ),
    "de": _any(
        r"\b(?:vielleicht|möglicherweise|vermutlich|wahrscheinlich|anscheinend|scheinbar|offenbar|eventuell|mutmaßlich|unklar|ungewiss)\b",
        r"\b(?:könnten?|dürften?)\s",
        r"\bschein(?:t|en)\b[^.,;]{0,60}\szu\s\w+n\b",
        r"\bs(?:ieht|ehen)\s(?:so\s)?aus,?\s(?:wie|als)\b",
        r"\bnicht\s(?:eindeutig|klar|genau|deutlich|sicher)\b",
        r"\bschwer\szu\s(?:sagen|erkennen|bestimmen)\b",
    ),
    "fr": _any(
        r"\b(?:peut-être|probablement|possiblement|apparemment|vraisemblablement|éventuellement|sans\sdoute|incertaine?s?)\b",
        r"\b(?:semble(?:nt)?|pourrai(?:t|ent)|paraît|paraissent|on\sdirait|(?:a|ont)\sl['’]air)\b",
        r"\b(?:pas|peu)\s(?:très\s)?claire?s?\b",
        r"\bdifficile\s(?:à|de)\s(?:dire|voir|distinguer|déterminer|savoir)\b",
    ),
    "es": _any(
        r"\b(?:quizás?|tal\svez|posiblemente|probablemente|aparentemente|presumiblemente|al\sparecer|a\slo\smejor)\b",
        r"\b(?:parecen?|podrían?|puede\s(?:que|ser|estar)|pueden\s(?:ser|estar))\b",
        r"\bno\s(?:está|es|queda|resulta)\sclaro\b",
        r"\bdifícil\s(?:de\s)?(?:decir|distinguir|determinar|saber)\b",
    ),
    "pt": _any(
        r"\b(?:talvez|possivelmente|provavelmente|aparentemente|presumivelmente|ao\sque\sparece)\b",
        r"\b(?:parecem?|poderiam?|podem?\s(?:ser|estar))\b",
        r"\bnão\s(?:está|é|fica)\sclaro\b",
        r"\bdifícil\s(?:de\s)?(?:dizer|distinguir|determinar|saber)\b",
    ),
    "it": _any(
        r"\b(?:forse|probabilmente|possibilmente|apparentemente|presumibilmente|a\squanto\spare)\b",
        r"\b(?:sembra(?:no)?|potrebbe(?:ro)?)\b",
        r"\bnon\sè\schiar[oa]\b",
        r"\bdifficile\s(?:da\s)?(?:dire|distinguere|determinare|capire)\b",
    ),
    "ru": _any(
        r"\b(?:возможно|вероятно|видимо|по-видимому|наверное|предположительно|может\sбыть|скорее\sвсего|кажется|похоже|неясно|непонятно)\b",
        r"\bмог(?:ут|ла|ло|ли)?\sбы\b",
        r"\b(?:трудно|сложно)\s(?:сказать|определить|разглядеть|понять)\b",
    ),
    "zh": _any(
        r"可能|也许|也許|或许|或許|大概|似乎|好像|疑似|貌似",
        r"看(?:起来|起來|上去)(?:像|似|是)",
        r"(?:不|无法|無法|难以|難以)(?:太)?(?:确定|確定|清楚|明确|明確|判断|判斷|分辨|辨认|辨認|看清)|看不清",
    ),
    "ja": _any(
        r"かもしれ|おそらく|恐らく|たぶん|多分|もしかす",
        r"よう(?:です|だ|に見え|に思え)|みたい(?:です|だ)|らしい(?:です|。|、)",
        r"と(?:思われ|見られ|みられ|考えられ|推測され|推定され)|可能性が(?:あ|高)|でしょう|だろう",
        r"不明|はっきり(?:し|と)?(?:は)?(?:ない|ません|見え)|判別(?:でき|が)|定かで",
    ),
    "ko": _any(
        r"아마도?\s|어쩌면",
        r"것\s?같(?:다|습니다|아요|은|으며|고)|듯(?:하다|합니다|하며|한|이\s)|지도\s모(?:른다|릅니다|르)",
        r"(?:으로|처럼|듯이|것으로)\s(?:보(?:인다|입니다|이며|이는|여)|추정)",
        r"불분명|확실(?:하지|치)\s않|알\s수\s없|알아보기\s어렵",
    ),
}  # fmt: skip
"""Language -> words by which a model says that it does not know."""
OTHER_SCRIPTS = frozenset({"ru", "zh", "ja", "ko"})
LETTERS = "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Of scripts that are written without spaces: kana and Han."""
WORD = re.compile(rf"[{LETTERS}]|[^\W{LETTERS}]+(?:['’][^\W{LETTERS}]+)*")
"""A word; of Chinese and Japanese, a letter, which tells the length of a caption as words do elsewhere."""
END = re.compile(r"[.!?…。！？｡।؟۔\"'”’»›)\]）」』】]\s*\Z")
"""How a sentence ends that was not cut off."""


def refuses(text: str, language: str | None) -> bool:
    """Whether a caption is none: a model's words about itself, or about what it was not given.

    Args:
        language: of the caption, as a code (`de`, `zh-Hans`), which chooses the phrases beside the English ones; all are tried where it is not known.
    """
    return _says(REFUSALS, text, language)


def doubts(text: str, language: str | None) -> bool:
    """Whether a caption says that its model does not know. Arguments as of `refuses`."""
    return _says(DOUBTS, text, language)


def _says(phrases: Mapping[str, re.Pattern[str]], text: str, language: str | None) -> bool:
    code = re.split("[-_]", language.casefold())[0] if language else ""
    tried = {ENGLISH, code} if code not in ("", "unknown", "und") else phrases.keys()
    plain = text.isascii()
    return any(phrases[one].search(text) for one in tried if one in phrases and not (plain and one in OTHER_SCRIPTS))
