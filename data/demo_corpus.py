"""A built-in synthetic corpus, so that a demo works with no data. Standard library only.

Every text comes from a small seeded grammar: film reviews, Chinese reviews of hotels, books and notebooks, question
pairs, and encyclopedia-like running text. The facts in it are invented. The reviews negate, contrast and quote, and
the question pairs swap their arguments, so that counting words does not solve the tasks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

# How many distinct texts each generator promises; the grammars hold more, but the last ones would be drawn slowly.
LIMITS: dict[str, int] = {
    "english_sentiment": 100_000,
    "chinese_sentiment": 100_000,
    "english_pairs": 50_000,
    "english_raw_text": 100_000,
    "chinese_raw_text": 100_000,
}

Rules = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class DemoRow:
    """One example.

    Attributes:
        texts: one text, or two for a pair.
        label: ``"0"`` or ``"1"``.
    """

    texts: tuple[str, ...]
    label: str


# --- English film reviews -------------------------------------------------------------------------------------------
# "{x}" expands rule x. "{x+}" expands it in the polarity of the text around it, "{x-}" in the opposite one; a rule
# named "x+" or "x-" holds what is said in praise or in blame only.
_ENGLISH: Rules = {
    "adj+": (
        *("engaging", "convincing", "memorable", "impressive", "inventive", "original", "satisfying", "enjoyable"),
        *("appealing", "gripping", "entertaining", "charming", "thoughtful", "moving"),
    ),
    "adj-": (
        *("boring", "predictable", "disappointing", "tedious", "forgettable", "tiresome", "lifeless", "pointless"),
        *("awkward", "muddled", "irritating", "monotonous", "careless", "superficial"),
    ),
    "short+": ("good", "clever", "lively", "fresh"),
    "short-": ("dull", "bland", "lazy", "clumsy"),
    "strong+": ("superb", "wonderful", "brilliant", "terrific", "excellent", "marvellous", "splendid", "magnificent"),
    "strong-": ("dreadful", "awful", "terrible", "atrocious", "dire", "hopeless", "horrible", "abysmal"),
    "any": ("{adj+}", "{adj+}", "{adj+}", "{short+}"),
    "very": ("really ", "very ", "thoroughly ", "surprisingly ", "rather ", "remarkably ", "undeniably ", "", ""),
    "plain": ("{very}{any+}", "{very}{any+}", "{very}{any+}", "absolutely {strong+}", "simply {strong+}", "{strong+}"),
    "negated": (
        *("not {any-} at all", "never {any-}", "anything but {any-}", "far from {any-}", "hardly {any-}"),
        *("not in the least {any-}", "by no means {any-}", "not even remotely {any-}", "not the least bit {any-}"),
    ),
    "doubled": ("not just {any+} but {strong+}", "nothing short of {strong+}", "not only {any+} but also {any+}"),
    "state": ("{plain+}",) * 5 + ("{negated+}",) * 4 + ("{doubled+}",),
    "one": (
        *("acting", "story", "script", "dialogue", "pacing", "camera work", "soundtrack", "ending", "second half"),
        *("editing", "humour", "direction", "lead performance", "central romance", "final act", "opening hour"),
    ),
    "many": (
        *("performances", "jokes", "characters", "action scenes", "songs", "plot twists", "flashbacks", "sets"),
        *("supporting roles", "chase scenes", "costumes", "special effects"),
    ),
    "part": ("the {one}", "the {many}"),
    "kind": ("film", "movie", "comedy", "thriller", "drama", "western", "musical", "mystery", "biopic", "debut"),
    "again": ("sequel", "remake", "second film", "new version", "follow-up"),
    "film": ("the {kind}", "this {kind}", "the {kind} as a whole", "this {again}"),
    "do+": (
        *("find its feet", "hold your attention", "live up to its promise", "come to life", "hit the right note"),
        *("reward your patience", "make you care", "take flight", "earn its ending", "make sense of its own plot"),
    ),
    "does+": (
        *("finds its feet", "holds your attention", "lives up to its promise", "comes to life", "hits the right note"),
        *("rewards your patience", "makes you care", "takes flight", "earns its ending", "makes sense of its own plot"),
    ),
    "do-": (
        *("lose its way", "fall flat", "drag", "run out of ideas", "outstay its welcome", "test your patience"),
        *("insult your intelligence", "sink into cliche", "fall apart", "run out of steam"),
    ),
    "does-": (
        *("loses its way", "falls flat", "drags", "runs out of ideas", "outstays its welcome", "tests your patience"),
        *("insults your intelligence", "sinks into cliche", "falls apart", "runs out of steam"),
    ),
    "surely": ("soon ", "quickly ", "certainly ", "clearly ", "really ", "undoubtedly "),
    "not_do": ("never {does-}", "never once {does-}", "does not {do-}", "simply does not {do-}", "never quite {does-}"),
    "act": ("{surely}{does+}", "{surely}{does+}", "{not_do+}"),
    "felt+": ("loved", "adored", "enjoyed", "admired", "was won over by", "was delighted by"),
    "felt-": ("hated", "disliked", "loathed", "could not stand", "was let down by", "was bored by"),
    "unfelt+": ("never grew tired of", "never lost interest in", "could not find fault with", "had no quarrel with"),
    "unfelt-": ("never warmed to", "did not care for", "did not enjoy", "could find no joy in", "was not won over by"),
    "feel": ("{felt+}", "{felt+}", "{unfelt+}"),
    "about_part": (
        *("the {one} is {state+}", "the {many} are {state+}") * 3,
        *("I found {part} {state+}", "there is nothing {any-} about {part}", "I {feel+} {part}"),
    ),
    "about_film": (
        *("{film} is {state+}", "{film} {act+}") * 2,
        *("I found {film} {state+}", "I {feel+} {film}", "there is hardly a {any-} moment in {film}"),
        *("there is not a single {any-} scene in {film}", "there are plenty of {any+} moments in {film}"),
    ),
    "clause": ("{about_part+}", "{about_film+}"),
    "main": ("{about_part+}", "{about_film+}", "{about_film+}"),
    "start": ("opening", "first act", "subplot", "prologue", "first half"),
    "opener": ("", "", "", "Honestly, ", "Frankly, ", "On reflection, ", "In short, ", "All in all, "),
    "others": (
        *("the critics", "most reviewers", "my friends", "my neighbours", "some people online", "my colleagues"),
        *("the festival judges", "my cousins"),
    ),
    "said": ("called it {any+}", "insisted it was {any+}", "found it {strong+}", "said it was {plain+}"),
    "venue+": (
        "the cinema was lovely",
        "the popcorn was excellent",
        "the seats were wonderful",
        "the day was splendid",
    ),
    "venue-": ("the cinema was horrible", "the popcorn was awful", "the seats were terrible", "the day was dreadful"),
    "week": ("week at work", "flight home", "dinner", "day at the office", "train ride", "night's sleep"),
    "job": ("baker", "teacher", "detective", "sailor", "nurse", "pianist", "lawyer", "farmer", "chess player", "spy"),
    "who": ("A retired {job}", "A young {job}", "A lonely {job}", "A proud {job}", "A penniless {job}"),
    "place": (
        "a fishing village",
        "the capital",
        "her old school",
        "a snowbound hotel",
        "the family farm",
        "the coast",
    ),
    "goal": (
        *("bury a terrible secret", "find a missing child", "win back a lost love", "avenge a brutal murder"),
        *("save a failing bakery", "face an old enemy", "claim a splendid fortune", "forgive a hopeless father"),
    ),
    "plot": ("{who} returns to {place} to {goal}", "{who} leaves {place} to {goal}"),
    "simple": ("{opener}{clause+}.", "{opener}{clause+}.", "{opener}{clause+}, and {clause+}."),
    "contrast": (
        *("{opener}{about_part-}, but {main+}.", "{opener}{about_part-}, yet {main+}."),
        *("Although {about_part-}, {main+}.", "Even though {about_part-}, {main+}.", "While {about_part-}, {main+}."),
        *("{about_film+}, even if the {one} is {any-} at times.", "Despite a {any-} {start}, {about_film+}."),
    ),
    "quoted": (
        *("{others} {said-}, but {about_film+}.", "{others} {said-}, yet I {felt+} every minute of it."),
        *("{others} {said+}, and they were right: {clause+}.", "{others} who {said-} were wrong: {about_film+}."),
        *("I cannot agree with those who {said-}, because {clause+}.", "{others} {said-}; I disagree, since {main+}."),
        "I expected something {any-}, but {about_film+}.",
    ),
    "aside": (
        *("{venue-}, but {about_film+}.", "{venue+}, and {about_film+}.", "{plot}, and {about_film+}."),
        *("After a {strong-} {week}, I found {film} {state+}.", "After a {strong+} {week}, I found {film} {state+}."),
        *("{plot}. {opener}{clause+}.", "{plot}. {opener}{clause+}."),
    ),
    "earlier": ("the first film", "the original", "its predecessor", "the trailer", "the novel"),
    "compared": (
        "Unlike {earlier}, which was {plain-}, this {again} is {state+}.",
        *("This {again} is far less {adj-} than {earlier}.", "This {again} is far more {adj+} than {earlier}."),
        *("You will not find a more {adj+} {kind} this year.", "I have rarely seen a more {adj+} {kind}."),
        *("{earlier} was {any+}, and this {again} is no different."),
        *(
            "{earlier} was {any-}; this {again} is nothing of the sort.",
            "This {kind} is the most {adj+} I have seen in years.",
        ),
    ),
    "review": (
        ("{simple+}",) * 4 + ("{contrast+}",) * 4 + ("{quoted+}",) * 2 + ("{aside+}",) * 2 + ("{compared+}",) * 2
    ),
}

# --- Chinese reviews ------------------------------------------------------------------------------------------------
# What is said of a room is not said of a keyboard: "{room+}" and its like hold the words that go with one thing.
_ZH_THINGS: dict[str, dict[str, tuple[str, str, str]]] = {
    "hotel": {
        "room": ("房间", "干净 宽敞 舒适 安静 明亮", "脏 狭窄 阴暗 吵闹 潮湿"),
        "service": ("服务", "周到 热情 贴心", "马虎 冷淡 敷衍"),
        "desk": ("前台的态度", "热情 友好 诚恳", "冷淡 傲慢 敷衍"),
        "breakfast": ("早餐", "丰富 好吃 可口", "单调 难吃 油腻"),
        "spot": ("位置", "方便 理想 好找", "偏僻 难找 尴尬"),
        "bath": ("卫生间", "干净 宽敞 整洁", "脏 狭窄 简陋"),
        "fittings": ("设施", "齐全 先进 完善", "陈旧 简陋 破旧"),
        "price": ("价格", "实惠 合理 公道", "离谱 昂贵"),
        "bed": ("床铺", "舒服 整洁 柔软", "脏 破旧 潮湿"),
    },
    "book": {
        "content": ("内容", "充实 有趣 深刻 精彩", "空洞 枯燥 肤浅 乏味"),
        "prose": ("文字", "优美 流畅 生动", "啰嗦 生硬 晦涩"),
        "story": ("情节", "紧凑 精彩 感人", "拖沓 老套 混乱"),
        "people": ("人物", "鲜明 生动 真实", "单薄 苍白 虚假"),
        "print": ("印刷", "清晰 精美 讲究", "模糊 粗糙 马虎"),
        "paper": ("纸张", "厚实 精致 光滑", "粗糙 单薄 劣质"),
        "translation": ("翻译", "流畅 准确 自然", "生硬 拗口 马虎"),
        "views": ("观点", "新颖 深刻 独到", "陈旧 偏激 肤浅"),
        "pictures": ("插图", "精美 生动 清晰", "粗糙 模糊 难看"),
    },
    "notebook": {
        "screen": ("屏幕", "清晰 细腻 舒服", "模糊 刺眼 昏暗"),
        "keyboard": ("键盘", "舒服 灵敏 好用", "松垮 难用 迟钝"),
        "battery": ("电池", "耐用 可靠 给力", "差劲 鸡肋 糟糕"),
        "cooling": ("散热", "理想 出色 给力", "糟糕 差劲 离谱"),
        "build": ("做工", "精致 扎实 讲究", "粗糙 马虎 廉价"),
        "looks": ("外观", "漂亮 大方 时尚", "土气 笨重 难看"),
        "sound": ("音质", "清晰 动听 出色", "刺耳 沉闷 差劲"),
        "support": ("客服", "热情 耐心 专业", "冷淡 敷衍 傲慢"),
        "system": ("系统", "稳定 流畅 好用", "卡顿 混乱 迟钝"),
    },
}
_ZH_WORDS: dict[str, Rules] = {
    "hotel": {
        "it": ("这家酒店", "这家宾馆", "这家旅馆", "这里"),
        "chose": ("住了{it}", "选了{it}", "订了{it}"),
        "before": ("上次住的那家", "隔壁那家", "去年住过的那家", "同价位的那家"),
        "setting": (
            *(
                "出差住了两晚，",
                "周末带父母来的，",
                "因为开会住了三天，",
                "国庆节和同事一起来的，",
                "半夜才到店，",
                "提前一周订的房，",
            ),
            *("那天航班晚点，心情很糟，", "外面下着大雨，天气很差，", "那天赶上好天气，心情不错，"),
        ),
    },
    "book": {
        "it": ("这本书", "这部小说", "这套书", "这本新书"),
        "chose": ("买了{it}", "读了{it}", "选了{it}"),
        "before": ("上一版", "作者的上一本", "图书馆借的那本", "同类的那几本"),
        "setting": (
            *(
                "周末一口气读完了，",
                "在火车上看完的，",
                "给孩子买的，",
                "朋友生日时送我的，",
                "断断续续读了一个月，",
                "书店里随手拿的，",
            ),
            *("那几天工作很烦，心情很糟，", "快递那天下着大雨，", "假期里闲着没事，心情不错，"),
        ),
    },
    "notebook": {
        "it": ("这台笔记本", "这款电脑", "这台机器", "这款笔记本"),
        "chose": ("买了{it}", "选了{it}", "换了{it}"),
        "before": ("上一台", "同事的那台", "家里的旧电脑", "同价位的那款"),
        "setting": (
            *(
                "买来办公用的，",
                "用了两个星期，",
                "给女儿上大学买的，",
                "在商场里试过才买的，",
                "到手用了一个月，",
                "主要拿来写论文，",
            ),
            *("之前那台坏得很突然，", "收货那天下着大雨，", "年终奖发了，心情不错，"),
        ),
    },
}
_ZH_SHARED: Rules = {
    "very": ("很", "非常", "特别", "相当", "十分", "真的很", "确实很"),
    "direct": ("{very}", "{very}", "{very}", "比{before}更", "让人觉得{very}", "不是一般的"),
    # A mild denial of a fault is not praise, so only praise is denied mildly.
    "deny": ("一点也不", "并不", "完全不", "丝毫不", "根本不", "绝不会让人觉得"),
    "not+": ("{deny}",),
    "not-": ("{deny}", "{deny}", "{deny}", "算不上", "没有网上说的那么", "没有{before}那么", "根本谈不上"),
    "part": ("{direct_part+}", "{direct_part+}", "{not_part+}"),
    "whole": (
        *("{it}{whole_yes+}", "{it}{whole_yes+}", "{it}{whole_no+}", "{it}{whole_no+}"),
        "{whole_me+}",
    ),
    "rated+": ("很值得推荐", "相当不错", "非常好"),
    "rated-": ("不值得推荐", "相当差", "非常糟"),
    "whole_yes+": ("让我很满意", "值得推荐", "对得起这个价钱", "给了我不少惊喜", "让我觉得物有所值"),
    "whole_yes-": ("让我很失望", "让我很后悔", "浪费了我的钱", "辜负了我的期待", "有不少让我恼火的地方"),
    "whole_no+": ("没有让我失望", "没有让我后悔", "没有浪费我的钱", "没有辜负我的期待", "没有一处让我恼火"),
    "whole_no-": ("没有让我满意", "不值得推荐", "对不起这个价钱", "没有给我什么惊喜", "没让我觉得物有所值"),
    "whole_me+": ("我一点也不后悔{chose}", "我很庆幸{chose}", "我会向朋友推荐{it}", "下次我还会选{it}"),
    "whole_me-": ("我真后悔{chose}", "我并不庆幸{chose}", "我不会向朋友推荐{it}", "下次我不会再选{it}"),
    "lead": ("", "", "", "不得不说，", "总的来说，", "说实话，", "个人感觉，", "{setting}", "{setting}"),
    "others": ("朋友都说", "网上有人说", "同事告诉我", "评论里都说", "我爱人觉得"),
    "main": ("{part+}", "{whole+}", "{whole+}"),
    "simple": ("{lead}{part+}，{part+}。", "{lead}{part+}，{whole+}。", "{lead}{part+}。", "{lead}{whole+}。"),
    "contrast": (
        *("{lead}虽然{part-}，但是{main+}。", "尽管{part-}，但{whole+}。", "{lead}{part-}，但{main+}。"),
        *("{lead}{part-}，不过{main+}。", "{lead}{part-}，然而{main+}。"),
    ),
    "quoted": (
        *("{others}{said-}，我却不这么看，{main+}。", "本来以为{said-}，没想到恰恰相反，{main+}。"),
        *("{others}{said+}，果然如此，{main+}。", "{others}{it}{rated-}，我不同意，{main+}。"),
        *("{others}{said+}，事实的确是这样，{main+}。", "{others}{said-}，其实不是这样，{main+}。"),
    ),
    "review": ("{simple+}",) * 4 + ("{contrast+}",) * 4 + ("{quoted+}",) * 2,
}


def _chinese_rules(domain: str) -> Rules:
    """The shared Chinese grammar with the things and words of one domain."""
    rules: dict[str, tuple[str, ...]] = {**_ZH_SHARED, **_ZH_WORDS[domain]}
    forms: dict[str, list[str]] = {"direct_part": [], "not_part": [], "said": []}
    for name, (thing, good, bad) in _ZH_THINGS[domain].items():
        rules[f"{name}+"], rules[f"{name}-"] = tuple(good.split()), tuple(bad.split())
        forms["direct_part"] += [f"{thing}{{direct}}{{{name}+}}"]
        forms["said"] += [f"{thing}{{very}}{{{name}+}}", f"{thing}{{deny}}{{{name}-}}"]
        forms["not_part"] += [f"{thing}{{not+}}{{{name}-}}"] * 3
        forms["not_part"] += [f"我并不觉得{thing}{{{name}-}}"]
    return {**rules, **{name: tuple(options) for name, options in forms.items()}}


# --- Question pairs -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Topic:
    """Questions that share their slots.

    Attributes:
        slots: the name of each slot and the values it takes; no two slots of a question take the same value.
        asks: each entry is one meaning, as the ways to put it.
        ordered: whether swapping the values of ``a`` and ``b`` changes the meaning.
    """

    slots: tuple[tuple[str, tuple[str, ...]], ...]
    asks: tuple[tuple[str, ...], ...]
    ordered: bool = False


_CITIES = (
    *("Oslo", "Rome", "Madrid", "Vienna", "Prague", "Lisbon", "Athens", "Dublin", "Warsaw", "Helsinki", "Cairo"),
    *("Delhi", "Tokyo", "Seoul", "Boston", "Chicago", "Toronto", "Lima", "Sydney", "Geneva", "Munich", "Milan"),
)
_ANIMALS = (
    *("hare", "wolf", "badger", "goat", "horse", "tiger", "camel", "bear", "goose", "dolphin", "moose", "zebra"),
    *("leopard", "donkey", "fox", "seal", "rhino", "lynx"),
)
_PEOPLE = (
    *("Anna", "Peter", "Maria", "James", "Laura", "Victor", "Nina", "Oscar", "Helen", "Simon", "Clara", "Hugo"),
    *("Julia", "Martin", "Rosa", "Felix"),
)
_TEAMS = (
    *("the Falcons", "the Rovers", "the Comets", "the Pirates", "the Badgers", "the Knights", "the Rangers"),
    *("the Sharks", "the Eagles", "the Miners", "the Royals", "the Storks"),
)
_LANGUAGES = ("French", "German", "Spanish", "Dutch", "Polish", "Greek", "Turkish", "Korean", "Swedish", "Arabic")
_COUNTRIES = (
    *("Norway", "Chile", "Kenya", "Vietnam", "Peru", "Portugal", "Canada", "Japan", "Morocco", "Austria", "Ghana"),
    *("Finland", "Nepal", "Cuba", "Poland", "Jordan"),
)
_YEARS = tuple(str(year) for year in range(1990, 2022))


def _compare(more: str, less: str, entity: str = "{}") -> tuple[str, ...]:
    """The ways to ask whether a is more so than b."""
    a, b = entity.format("{a}"), entity.format("{b}")
    return (
        *(f"Is {a} {more} than {b}?", f"Is {b} {less} than {a}?", f"Would you say that {a} is {more} than {b}?"),
        *(f"Is it true that {b} is {less} than {a}?", f"Compared with {b}, is {a} {more}?"),
    )


_TOPICS: tuple[_Topic, ...] = (
    _Topic(
        (("a", _CITIES), ("b", _CITIES), ("m", ("train", "bus", "plane", "coach"))),
        (
            (
                *("How do I get from {a} to {b} by {m}?", "What is the best way to go by {m} from {a} to {b}?"),
                *("How can I travel to {b} from {a} by {m}?", "Starting in {a}, how do I reach {b} by {m}?"),
            ),
            (
                *("When does the last {m} from {a} to {b} leave?", "What time does the last {m} leave {a} for {b}?"),
                "At what time does the last {m} to {b} depart from {a}?",
            ),
            (
                *("When does the first {m} from {a} to {b} leave?", "What time does the first {m} leave {a} for {b}?"),
                "At what time does the first {m} to {b} depart from {a}?",
            ),
        ),
        ordered=True,
    ),
    _Topic(
        (("a", _CITIES), ("b", _CITIES), ("t", ("a dog", "two cats", "a piano", "three children", "a large sofa"))),
        (
            (
                *("How do I move from {a} to {b} with {t}?", "What is the best way to move to {b} from {a} with {t}?"),
                *("With {t}, how can I relocate from {a} to {b}?", "How can I relocate to {b} from {a} with {t}?"),
            ),
            (
                *("How much does it cost to move from {a} to {b} with {t}?",),
                *("What is the price of a move to {b} from {a} with {t}?",),
                "With {t}, what would it cost to relocate from {a} to {b}?",
            ),
        ),
        ordered=True,
    ),
    _Topic(
        (("a", _LANGUAGES), ("b", _LANGUAGES), ("t", ("letter", "contract", "poem", "diploma", "song", "recipe"))),
        (
            (
                *("How do I translate a {t} from {a} into {b}?", "How can a {t} in {a} be translated into {b}?"),
                *("What is the best way to turn a {a} {t} into {b}?", "How can I put into {b} a {t} written in {a}?"),
            ),
            (
                *("What does it cost to have a {t} translated from {a} into {b}?",),
                *("How much do I pay to translate a {a} {t} into {b}?",),
                "How expensive is it to have a {t} in {a} put into {b}?",
            ),
        ),
        ordered=True,
    ),
    _Topic(
        (("a", _CITIES), ("b", _CITIES)),
        (
            *(_compare("bigger", "smaller"), _compare("cheaper", "more expensive"), _compare("warmer", "colder")),
            *(_compare("safer", "more dangerous"), _compare("older", "younger"), _compare("noisier", "quieter")),
        ),
        ordered=True,
    ),
    _Topic(
        (("a", _ANIMALS), ("b", _ANIMALS)),
        (
            *(_compare("faster", "slower", "a {}"), _compare("heavier", "lighter", "a {}")),
            *(_compare("stronger", "weaker", "a {}"), _compare("taller", "shorter", "a {}")),
        ),
        ordered=True,
    ),
    _Topic(
        (("a", _TEAMS), ("b", _TEAMS), ("e", ("final", "semi-final", "opening match", "friendly")), ("y", _YEARS)),
        (
            (
                *("Did {a} beat {b} in the {y} {e}?", "Were {b} beaten by {a} in the {y} {e}?"),
                *("Did {b} lose to {a} in the {e} of {y}?", "In the {y} {e}, did {a} win against {b}?"),
            ),
        ),
        ordered=True,
    ),
    _Topic(
        (
            ("a", _PEOPLE),
            ("b", _PEOPLE),
            ("s", ("chemistry", "Latin", "chess", "drawing", "algebra", "sailing", "judo")),
        ),
        (
            (
                *("Did {a} teach {b} {s}?", "Was {b} taught {s} by {a}?", "Did {b} learn {s} from {a}?"),
                *("Is {a} the one who taught {s} to {b}?", "Was it {a} who gave {b} lessons in {s}?"),
            ),
            ("Is {a} better than {b} at {s}?", "Is {b} worse than {a} at {s}?", "At {s}, is {a} better than {b}?"),
        ),
        ordered=True,
    ),
    _Topic(
        (("a", _PEOPLE), ("b", _PEOPLE), ("t", ("last week", "in March", "on Friday", "yesterday", "in June"))),
        (
            (
                *("How much money did {a} lend {b} {t}?", "How much money did {b} borrow from {a} {t}?"),
                "How much money was {b} lent by {a} {t}?",
            ),
            (
                "Why did {a} invite {b} {t}?",
                "Why was {b} invited by {a} {t}?",
                "For what reason did {a} invite {b} {t}?",
            ),
            ("Why did {a} call {b} {t}?", "Why was {b} called by {a} {t}?", "For what reason did {a} call {b} {t}?"),
        ),
        ordered=True,
    ),
    _Topic(
        (("a", _CITIES), ("b", _CITIES), ("m", ("road", "rail", "air"))),
        (
            (
                *("How far is {a} from {b} by {m}?", "How far is {b} from {a} by {m}?"),
                *("What is the distance between {a} and {b} by {m}?", "What distance is {b} from {a} by {m}?"),
            ),
            (
                *("Which of the two cities is easier to reach by {m}, {a} or {b}?",),
                *("Is it {b} or {a} that is the easier city to reach by {m}?",),
                "Between {a} and {b}, which city is easier to get to by {m}?",
            ),
        ),
    ),
    _Topic(
        (("c", _COUNTRIES), ("y", _YEARS)),
        (
            ("What was the population of {c} in {y}?", "How many people lived in {c} in {y}?"),
            ("Who was in charge of the government of {c} in {y}?", "In {y}, who led the government of {c}?"),
            ("How many people visited {c} in {y}?", "What was the number of visitors to {c} in {y}?"),
            ("How many people left {c} in {y}?", "In {y}, what number of people moved away from {c}?"),
            ("What did {c} export in {y}?", "In {y}, which goods did {c} sell abroad?"),
            ("What did {c} import in {y}?", "In {y}, which goods did {c} buy from abroad?"),
        ),
    ),
    _Topic(
        (
            (
                "f",
                ("location", "dark mode", "automatic updates", "voice control", "notifications", "roaming", "backups"),
            ),
            (
                "d",
                ("phone", "tablet", "laptop", "television", "smart watch", "work computer", "new phone", "old tablet"),
            ),
            ("p", ("my", "my mother's", "a friend's", "my daughter's", "our neighbour's")),
        ),
        (
            (
                *("How do I turn on {f} on {p} {d}?", "What is the way to enable {f} on {p} {d}?"),
                *("On {p} {d}, how can {f} be switched on?", "How can I activate {f} on {p} {d}?"),
            ),
            (
                *("How do I turn off {f} on {p} {d}?", "What is the way to disable {f} on {p} {d}?"),
                *("On {p} {d}, how can {f} be switched off?", "How can I deactivate {f} on {p} {d}?"),
            ),
        ),
    ),
    _Topic(
        (
            ("x", ("stretch", "drink coffee", "eat fruit", "take a nap", "have a shower", "drink milk", "read")),
            ("z", ("a long run", "a swim", "an exam", "a long flight", "dinner", "a yoga class", "a night shift")),
            ("w", ("on weekdays", "in summer", "at my age", "in winter", "every time", "at the weekend")),
        ),
        (
            (
                *("Should I {x} before {z} {w}?", "Is it a good idea to {x} before {z} {w}?"),
                "Before {z}, is it wise to {x} {w}?",
            ),
            (
                *("Should I {x} after {z} {w}?", "Is it a good idea to {x} after {z} {w}?"),
                "After {z}, is it wise to {x} {w}?",
            ),
        ),
    ),
)

# --- Running text ---------------------------------------------------------------------------------------------------
# A subject is the rule that names it, the ways to open its document, and the sentences that may follow.
_ENGLISH_FACTS: Rules = {
    "stem": (
        *("Alden", "Brack", "Corven", "Dorn", "Ester", "Fenn", "Gald", "Harrow", "Ivel", "Jorra", "Keld", "Lorn"),
        *("Merrin", "Norr", "Orben", "Pell", "Quill", "Rusk", "Sorrel", "Tarn", "Ulver", "Varn", "Wend", "Yarrow"),
    ),
    "town": tuple(f"{{stem}}{end}" for end in ("bury", "wick", "stead", "mere", "holt", "gate", "haven", "ford")),
    "river": (
        "{stem} Water",
        "River {stem}",
        "{stem} Brook",
        "Upper {stem}",
        "Little {stem}",
        "{stem}bourne",
        "{stem}beck",
    ),
    "surname": tuple(f"{{stem}}{end}" for end in ("son", "ley", "sen", "man", "ard", "ett", "well", "ow")),
    "first": ("Edith", "Arthur", "Agnes", "Walter", "Ingrid", "Leopold", "Beatrice", "Conrad", "Matilda", "Rupert"),
    "year": tuple(str(year) for year in range(1790, 1990)),
    "small": tuple(str(number) for number in range(3, 60)),
    "large": tuple(f"{number},{rest}00" for number in range(2, 60) for rest in range(1, 10)),
    "trade": ("wool", "glass", "paper", "leather", "pottery", "silk", "linen", "soap", "rope", "cloth", "felt"),
    "hue": ("grey", "white", "reddish", "pale yellow", "dark green", "chestnut", "silver", "speckled", "blue-black"),
    "land": ("hills", "marshes", "moors", "pine woods", "meadows", "chalk cliffs", "lowlands", "orchards", "dunes"),
    "building": ("church", "library", "town hall", "market hall", "railway station", "lighthouse", "mill", "theatre"),
    "season": ("spring", "summer", "autumn", "winter"),
    "side": ("north", "south", "east", "west"),
    "food": ("seeds", "beetles", "small fish", "berries", "earthworms", "snails", "young leaves", "moths", "acorns"),
    "beast": tuple(
        f"{{hue}} {{stem}} {animal}"
        for animal in ("marten", "warbler", "hare", "finch", "newt", "plover", "vole", "owl", "toad", "tern")
    ),
    "field": ("botany", "geology", "astronomy", "optics", "medicine", "chemistry", "surveying", "mathematics"),
    "instrument": tuple(f"{{town}} {kind}" for kind in ("horn", "harp", "drum", "pipe", "lute", "fiddle")),
    "material": ("beech wood", "brass", "horsehair", "sheepskin", "walnut", "copper", "bone", "bamboo", "maple"),
    "plant": tuple(
        f"{{hue}} {{stem}} {kind}" for kind in ("sorrel", "gentian", "willow", "thistle", "orchid", "clover", "fern")
    ),
}
_Subject = tuple[str, tuple[str, ...], tuple[str, ...]]
_ENGLISH_SUBJECTS: tuple[_Subject, ...] = (
    (
        "town",
        (
            "{name} is a market town on the {river}, about {small} kilometres from the coast.",
            "{name} is a small town in the {land} {side} of {town}, with about {large} inhabitants.",
        ),
        (
            "The first written record of {name} dates from {year}, when its {building} was built.",
            "For most of its history the people of {name} made {trade} and sold it in {town}.",
            "The {building} of {name}, finished in {year}, stands {small} metres high.",
            "The railway from {town} reached {name} in {year} and closed {small} years later.",
            "In {year} a flood of the {river} damaged {small} houses in {name}.",
            "Visitors come to {name} in {season} to walk in the {land} to the {side}.",
            "A museum of {trade} opened in {name} in {year}.",
            "The population of {name} grew to {large} after the trade in {trade} began in {year}.",
            "The writer {first} {surname} went to school in {name} until {year}.",
            "Every {season} a fair for {trade} is held beside the {building} of {name}.",
        ),
    ),
    (
        "river",
        (
            "The {name} is a river that rises in the {land} near {town} and is {small} kilometres long.",
            "The {name} runs for {small} kilometres through the {land} {side} of {town}.",
        ),
        (
            "It is joined by the {river} just {side} of {town}.",
            "A stone bridge has crossed the {name} at {town} since {year}.",
            "In {season} the {name} often floods the {land} around {town}.",
            "Until {year} the {name} was used to carry {trade} to the coast.",
            "There were once {small} mills on the {name}, most of them making {trade}.",
            "The {name} is known for the {beast}, which was first recorded here in {year}.",
            "A canal between the {name} and the {river} was planned in {year} but never dug.",
            "The water of the {name} is {hue} in {season} because of the soil of the {land}.",
            "About {large} people live in the valley of the {name}, most of them in {town}.",
        ),
    ),
    (
        "surname",
        (
            "{first} {name} was a scholar of {field} from {town} who wrote {small} books.",
            "Born near {town}, {first} {name} is remembered for {small} works on {field}.",
        ),
        (
            "After studying {field} in {town}, {name} worked for {small} years as a teacher.",
            "In {year} {name} published a book on {field} that sold {large} copies.",
            "{name} travelled through the {land} of the {side} in {year} and kept a diary.",
            "The letters between {name} and {first} {surname} fill {small} volumes.",
            "{name} was the first to describe the {beast} in detail, in {year}.",
            "The family of {name} had traded in {trade} in {town} for {small} years.",
            "A prize for students of {field} has carried the name of {name} since {year}.",
            "In later life {name} gave up {field} and lived quietly in {town}.",
            "The house of {name}, next to the {building} in {town}, is now a museum.",
        ),
    ),
    (
        "beast",
        (
            "The {name} is a small animal of the {land}, rarely longer than {small} centimetres.",
            "The {name} lives in the {land} and feeds mostly on {food}.",
        ),
        (
            "In {season} the {name} eats {food} and, when these are scarce, {food}.",
            "The {name} was first described by {first} {surname} in {year}.",
            "The young of the {name} are {hue} and leave the nest after {small} days.",
            "About {large} of them were counted near {town} in {year}.",
            "The {name} is active at night and hides in the {land} by day.",
            "Both parents feed the young on {food} for {small} days.",
            "In {year} the {name} was declared a protected species in the {land} around {town}.",
            "Its call can be heard along the {river} in early {season}.",
            "The back of the {name} is {hue} in {season} and {hue} for the rest of the year.",
        ),
    ),
    (
        "instrument",
        (
            "The {name} is a musical instrument made of {material}, first built in {town} in {year}.",
            "The {name} is an instrument of {material} and {material}, about {small} centimetres long.",
        ),
        (
            "The maker {first} {surname} gave the {name} its present form in {year}.",
            "The {name} is played at weddings in {town}, usually together with the {instrument}.",
            "Older forms of the {name} were made of {material} rather than {material}.",
            "It takes about {small} days to build a {name} in the workshops of {town}.",
            "The composer {first} {surname} wrote {small} pieces for the {name}.",
            "A collection of {small} instruments of this kind is kept in the {building} of {town}.",
            "By {year} the {name} had been largely replaced by the {instrument}.",
            "A school for players of the {name} was founded in {town} in {year}.",
        ),
    ),
    (
        "plant",
        (
            "The {name} is a plant of the {land} that grows to {small} centimetres.",
            "The {name} is a plant with up to {small} flowers on a stem, found in the {land} near {town}.",
        ),
        (
            "The {name} flowers in {season}, and its petals are {hue}.",
            "The botanist {first} {surname} collected the {name} near {town} in {year}.",
            "The roots of the {name} reach {small} centimetres into the ground.",
            "The seeds of the {name} are eaten by the {beast}.",
            "People in {town} once used the {name} to colour {trade}.",
            "Since {year} the {name} has become rare in the {land} along the {river}.",
            "A garden beside the {building} of {town} holds {small} plants of this kind.",
            "The leaves of the {name} are {hue} at first and turn {hue} in {season}.",
        ),
    ),
)
_CHINESE_FACTS: Rules = {
    "first_char": tuple("青白云石金沙柳松梅竹临安清平永长南北东西"),
    "second_char": tuple("泉溪岭桥湖台塘湾林谷原坪浦渡"),
    "town": tuple(f"{{first_char}}{{second_char}}{end}" for end in "镇县乡"),
    "river": ("{first_char}{second_char}河", "{first_char}{second_char}江", "小{first_char}水"),
    "family": tuple("赵钱孙李周吴郑王冯陈沈韩杨朱秦许何吕张"),
    "person": tuple(f"{{family}}{{given}}{end}" for end in "之明文远山华"),
    "given": tuple("子景伯仲维思克承志学"),
    "year": tuple(str(year) for year in range(1790, 1990)),
    "small": tuple(str(number) for number in range(3, 60)),
    "large": tuple(f"{number}{rest}00" for number in range(2, 60) for rest in range(1, 10)),
    "trade": ("丝绸", "茶叶", "瓷器", "纸张", "木材", "食盐", "药材", "竹器", "棉布", "铜器"),
    "land": ("山地", "丘陵", "草原", "湿地", "平原", "竹林", "河谷", "盆地"),
    "building": ("图书馆", "钟楼", "书院", "码头", "火车站", "戏台", "石塔", "粮仓"),
    "season": ("春季", "夏季", "秋季", "冬季"),
    "side": ("东", "南", "西", "北"),
    "hue": ("灰色", "白色", "褐色", "黄绿色", "深蓝色", "银色", "黑色"),
    "food": ("草籽", "小鱼", "昆虫", "浆果", "嫩叶", "蜗牛", "松子"),
    "beast": tuple(f"{{first_char}}{{second_char}}{end}" for end in ("雀", "鹿", "蛙", "鼠", "鹭", "狐")),
    "field": ("植物学", "地质学", "天文学", "数学", "医学", "化学", "测量学"),
    "plant": tuple(f"{{first_char}}{{second_char}}{end}" for end in ("兰", "柳", "菊", "杉", "草")),
}
_CHINESE_SUBJECTS: tuple[_Subject, ...] = (
    (
        "town",
        (
            "{name}位于{river}{side}岸，距离海边约{small}公里。",
            "{name}地处{land}之中，人口约{large}人，以出产{trade}闻名。",
        ),
        (
            "{name}的名字最早见于{year}年，当时这里修建了{building}。",
            "历史上{name}的居民多以制作{trade}为生，产品运往{town}出售。",
            "{name}的{building}建成于{year}年，高{small}米。",
            "{year}年，从{town}到{name}的石板路修成，全长{small}公里。",
            "{year}年{river}发生洪水，{name}有{small}间房屋受损。",
            "每年{season}，{name}都会举办{trade}集市。",
            "作家{person}曾在{name}生活了{small}年。",
            "{year}年以后，{name}的人口逐渐增加到{large}人。",
            "{name}{side}面是一片{land}，{season}常有游人前来。",
        ),
    ),
    (
        "river",
        ("{name}发源于{town}附近的{land}，全长{small}公里。", "{name}是流经{town}的一条河流，流域人口约{large}人。"),
        (
            "{name}在{town}以{side}与{river}汇合。",
            "{year}年，人们在{name}上修建了一座长{small}米的石桥。",
            "每到{season}，{name}的水位会上涨{small}厘米。",
            "{year}年以前，{name}是运输{trade}的重要水道。",
            "{name}沿岸曾有{small}家制作{trade}的作坊。",
            "{name}两岸多为{land}，常能见到{beast}。",
            "{year}年，{town}在{name}边建起了{building}。",
            "{name}流域的居民主要种植粮食，也生产{trade}，人口约{large}人。",
        ),
    ),
    (
        "person",
        (
            "{name}是一位研究{field}的学者，出生于{town}，著有{small}部书。",
            "{name}，{town}人，以{field}方面的著作为人所知。",
        ),
        (
            "{name}早年在{town}学习{field}，后来当了{small}年教师。",
            "{year}年，{name}出版了一部关于{field}的书，印数为{large}册。",
            "{year}年，{name}到{town}{side}部的{land}考察，并写下了日记。",
            "{name}与{person}的通信共有{small}封保存至今。",
            "{name}的家族在{town}经营{trade}达{small}年之久。",
            "{name}最早详细描述了{beast}的习性，时间是{year}年。",
            "{name}晚年住在{town}，不再从事{field}研究。",
            "{name}的故居在{town}的{building}旁边，{year}年起对外开放。",
        ),
    ),
    (
        "beast",
        ("{name}是生活在{land}的一种动物，体长约{small}厘米。", "{name}全身{hue}，主要分布在{town}一带的{land}。"),
        (
            "{name}在{season}主要吃{food}，有时也吃{food}。",
            "{person}于{year}年首次记录了{name}。",
            "{name}的幼体为{hue}，出生{small}天后开始独立生活。",
            "{year}年，人们在{town}附近发现了{large}只{name}。",
            "{name}多在夜间活动，白天躲藏在{land}中。",
            "{year}年，{town}将{name}列为保护动物。",
            "{season}时常可以在{river}边见到{name}。",
            "{name}的体色在{season}会变成{hue}。",
        ),
    ),
    (
        "plant",
        ("{name}是一种生长在{land}的植物，高约{small}厘米。", "{name}开{hue}的花，多见于{town}附近的{land}。"),
        (
            "{name}在{season}开花，花期约{small}天。",
            "{year}年，{person}在{town}采集到了{name}的标本。",
            "{name}的根深入地下{small}厘米，适合{land}的环境。",
            "{name}的种子是{beast}的食物。",
            "{town}的居民曾用{name}为{trade}染色。",
            "{year}年以来，{name}在{river}沿岸已不多见。",
            "{town}的{building}旁种有{small}株{name}。",
            "{name}的叶子起初为{hue}，到了{season}变成{hue}。",
        ),
    ),
)


# --- Drawing --------------------------------------------------------------------------------------------------------
_SLOT = re.compile(r"\{(\w+)([+-]?)\}")


def _expand(rng: Random, rules: Rules, template: str, positive: bool = True, used: set[str] | None = None) -> str:
    """Replaces every slot of a template by a random expansion.

    Args:
        rng: the source of the choices.
        rules: the grammar.
        template: a text with slots.
        positive: the polarity that ``+`` keeps and ``-`` inverts.
        used: the words that this text holds already; none is chosen twice while there is another.
    """
    seen: set[str] = set() if used is None else used

    def choose(slot: re.Match[str]) -> str:
        name, sign = slot.groups()
        side = positive != (sign == "-")
        options = rules.get(f"{name}{'+' if side else '-'}") or rules[name]
        option = rng.choice(options)
        for _ in range(8):
            if option not in seen:
                break
            option = rng.choice(options)
        if "{" in option:
            return _expand(rng, rules, option, side, seen)
        seen.add(option)
        return option

    return _SLOT.sub(choose, template)


def _check(generator: str, count: int) -> None:
    """Raises ValueError when a generator cannot give that many distinct texts."""
    if not 0 <= count <= LIMITS[generator]:
        raise ValueError(f"{generator} gives 0 to {LIMITS[generator]} distinct texts, not {count}")


def _distinct_rows(count: int, rng: Random, draw: Callable[[Random, bool], tuple[str, ...]]) -> list[DemoRow]:
    """Draws rows with no text twice; every two neighbours hold one row of each label."""
    rows: list[DemoRow] = []
    taken: set[tuple[str, ...]] = set()
    positive = False
    while len(rows) < count:
        if len(rows) % 2 == 0:
            positive = rng.random() < 0.5
        texts = draw(rng, positive)
        # A pair is the same pair in the other order.
        key = tuple(sorted(texts))
        if key in taken:
            continue
        taken.add(key)
        rows.append(DemoRow(texts, str(int(positive))))
        positive = not positive
    return rows


def _finish_english(text: str) -> str:
    """Capitals at the start of sentences, and "an" where it belongs."""
    text = re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", text)
    return re.sub(r"(^|[.?!] )([a-z])", lambda match: match[1] + match[2].upper(), text)


def _english_review(rng: Random, positive: bool, template: str = "{review+}") -> tuple[str]:
    """One film review of 4 to 30 words."""
    # A review speaks of one film throughout.
    film = {name: (rng.choice(_ENGLISH[name]),) for name in ("kind", "again")}
    while True:
        text = _finish_english(_expand(rng, {**_ENGLISH, **film}, template, positive))
        if 4 <= len(text.split()) <= 30:
            return (text,)


def _chinese_review(rng: Random, positive: bool, template: str = "{review+}") -> tuple[str]:
    """One review of a hotel, a book or a notebook that says nothing twice."""
    domain = rng.choice(tuple(_ZH_THINGS))
    once = ["我并不觉得", *(thing for thing, _, _ in _ZH_THINGS[domain].values())]
    rules = {**_ZH_RULES[domain], "it": (rng.choice(_ZH_RULES[domain]["it"]),)}
    while True:
        text = _expand(rng, rules, template, positive)
        if all(text.count(phrase) < 2 for phrase in once):
            return (text,)


_ZH_RULES: dict[str, Rules] = {domain: _chinese_rules(domain) for domain in _ZH_THINGS}


def _fill_slots(rng: Random, topic: _Topic) -> dict[str, str]:
    """A value for every slot of a topic, no value twice."""
    values: dict[str, str] = {}
    for name, pool in topic.slots:
        value = rng.choice(pool)
        while value in values.values():
            value = rng.choice(pool)
        values[name] = value
    return values


def _change_slot(rng: Random, topic: _Topic, values: Mapping[str, str]) -> dict[str, str]:
    """The same values but for one slot."""
    name, pool = rng.choice(topic.slots)
    return {**values, name: rng.choice([value for value in pool if value not in values.values()])}


def _question_pair(rng: Random, positive: bool, topic: _Topic | None = None) -> tuple[str, str]:
    """Two questions that mean the same, or that differ in the order, one value or the thing asked."""
    topic = topic or rng.choice(_TOPICS)
    ask = rng.choice(topic.asks)
    values = _fill_slots(rng, topic)
    first, second = rng.sample(ask, 2)
    other = values
    if not positive:
        changes = ["swap"] * 3 * topic.ordered + ["slot"] + ["ask"] * (len(topic.asks) > 1)
        change = rng.choice(changes)
        if change == "swap":
            other = {**values, "a": values["b"], "b": values["a"]}
        elif change == "slot":
            other = _change_slot(rng, topic, values)
        else:
            second = rng.choice(rng.choice([entry for entry in topic.asks if entry is not ask]))
    return first.format_map(values), second.format_map(other)


def english_sentiment(count: int, seed: int) -> list[DemoRow]:
    """Film reviews, half of them in praise (label ``"1"``).

    Raises:
        ValueError: ``count`` is more than the grammar gives.
    """
    _check("english_sentiment", count)
    return _distinct_rows(count, Random(f"english_sentiment-{seed}"), _english_review)


def chinese_sentiment(count: int, seed: int) -> list[DemoRow]:
    """Chinese reviews of hotels, books and notebooks, half of them in praise (label ``"1"``).

    Raises:
        ValueError: ``count`` is more than the grammar gives.
    """
    _check("chinese_sentiment", count)
    return _distinct_rows(count, Random(f"chinese_sentiment-{seed}"), _chinese_review)


def english_pairs(count: int, seed: int) -> list[DemoRow]:
    """Pairs of questions, half of them asking the same (label ``"1"``).

    Raises:
        ValueError: ``count`` is more than the grammar gives.
    """
    _check("english_pairs", count)

    def draw(rng: Random, positive: bool) -> tuple[str, ...]:
        return tuple(_finish_english(text) for text in _question_pair(rng, positive))

    return _distinct_rows(count, Random(f"english_pairs-{seed}"), draw)


def _document_sizes(lines: int, rng: Random) -> Iterator[int]:
    """Sizes of 3 to 8 lines that fill ``lines`` exactly, with one empty line between documents."""
    while lines > 0:
        fitting = [size for size in range(3, 9) if size == lines or lines - size - 1 >= 3]
        # Fewer than three lines in all make one short document.
        size = rng.choice(fitting) if fitting else lines
        yield size
        lines -= size + 1


def _document(rng: Random, rules: Rules, subjects: tuple[_Subject, ...], size: int, taken: set[str]) -> list[str]:
    """Up to ``size`` sentences about one subject, fewer when too many of those drawn were taken before."""
    rule, openings, facts = rng.choice(subjects)
    # What a document says of its subject's country or field of study has to agree throughout.
    bound = {name: (rng.choice(rules[name]),) for name in ("land", "field")}
    known = {**rules, **bound, "name": (_expand(rng, rules, f"{{{rule}}}"),)}
    sentences: list[str] = []
    for template in (rng.choice(openings), *rng.sample(facts, size - 1)):
        # A fact with few slots left open may have no new wording for this subject.
        drawn = (_expand(rng, known, template) for _ in range(5))
        sentences += islice((text for text in drawn if text not in taken), 1)
    return sentences


def _raw_text(lines: int, rng: Random, rules: Rules, subjects: tuple[_Subject, ...]) -> Iterator[str]:
    """Documents about one subject each, no sentence twice."""
    taken: set[str] = set()
    for number, size in enumerate(_document_sizes(lines, rng)):
        if number:
            yield ""
        sentences = _document(rng, rules, subjects, size, taken)
        while len(sentences) < size:
            sentences = _document(rng, rules, subjects, size, taken)
        taken.update(sentences)
        yield from sentences


def english_raw_text(lines: int, seed: int) -> Iterator[str]:
    """Encyclopedia-like sentences, ``lines`` in all counting the empty line between documents.

    Raises:
        ValueError: ``lines`` is more than the grammar gives.
    """
    _check("english_raw_text", lines)
    sentences = _raw_text(lines, Random(f"english_raw_text-{seed}"), _ENGLISH_FACTS, _ENGLISH_SUBJECTS)
    return (_finish_english(sentence) for sentence in sentences)


def chinese_raw_text(lines: int, seed: int) -> Iterator[str]:
    """Encyclopedia-like Chinese sentences, ``lines`` in all counting the empty line between documents.

    Raises:
        ValueError: ``lines`` is more than the grammar gives.
    """
    _check("chinese_raw_text", lines)
    return _raw_text(lines, Random(f"chinese_raw_text-{seed}"), _CHINESE_FACTS, _CHINESE_SUBJECTS)


_GENERATORS: dict[str, Callable[[int, int], list[DemoRow]]] = {
    "sst-2": english_sentiment,
    "chnsenticorp": chinese_sentiment,
    "qqp": english_pairs,
}
_HEADERS: dict[str, tuple[str, ...]] = {
    "sst-2": ("sentence", "label"),
    "chnsenticorp": ("text_a", "label"),
    "qqp": ("question1", "question2", "is_duplicate"),
}


def task_rows(task_name: str, train: int, dev: int, seed: int) -> tuple[list[DemoRow], list[DemoRow]]:
    """Training and development rows of a task, with no text in both.

    Raises:
        KeyError: the corpus has no such task.
        ValueError: ``train`` or ``dev`` is negative, or together they are more than the grammar gives.
    """
    generate = _GENERATORS[task_name]
    if min(train, dev) < 0:
        raise ValueError(f"train and dev must not be negative, not {train} and {dev}")
    rows = generate(train + dev, seed)
    return rows[:train], rows[train:]


def _write_rows(path: Path, header: tuple[str, ...], rows: list[DemoRow]) -> None:
    """Writes a table whole or not at all."""
    lines = ["\t".join(header), *("\t".join((*row.texts, row.label)) for row in rows)]
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_folder(task_name: str, folder: Path, train: int, dev: int, seed: int) -> None:
    """Writes ``train.tsv`` and ``dev.tsv`` of a task, each with a header row.

    Raises:
        KeyError: the corpus has no such task.
        ValueError: ``train`` or ``dev`` is negative, or together they are more than the grammar gives.
    """
    train_rows, dev_rows = task_rows(task_name, train, dev, seed)
    folder.mkdir(parents=True, exist_ok=True)
    _write_rows(folder / "train.tsv", _HEADERS[task_name], train_rows)
    _write_rows(folder / "dev.tsv", _HEADERS[task_name], dev_rows)
