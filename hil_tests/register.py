"""The register that a city lost, with nobody in it: 465,177 made-up residents as a CSV export.

The shape is that of a municipal export: CP932, CRLF, fixed columns padded with spaces, names in
half-width kana and in kanji, dates as YYYYMMDD, accounts as bank, branch, kind and number, money
in yen. City, towns, banks and people are invented; whole households share name and address.
The same bytes come out on every machine: each draw is SplitMix64 of its field's and row's number.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

RESIDENTS: Final = 465_177  # as reported in June 2022
EXPORTED: Final = "2022-06-21"

Bytes2D = NDArray[np.uint8]
Ints = NDArray[np.int64]

HEADER: Final = (
    "住民番号,世帯番号,氏名カナ,氏名,生年月日,性別,郵便番号,住所,"
    "銀行,支店,種別,口座番号,所得額,市民税額\r\n"
)
FAMILY: Final = (
    "佐藤 ｻﾄｳ 鈴木 ｽｽﾞｷ 高橋 ﾀｶﾊｼ 田中 ﾀﾅｶ 伊藤 ｲﾄｳ 渡辺 ﾜﾀﾅﾍﾞ 山本 ﾔﾏﾓﾄ 中村 ﾅｶﾑﾗ "
    "小林 ｺﾊﾞﾔｼ 加藤 ｶﾄｳ 吉田 ﾖｼﾀﾞ 山田 ﾔﾏﾀﾞ 佐々木 ｻｻｷ 山口 ﾔﾏｸﾞﾁ 松本 ﾏﾂﾓﾄ 井上 ｲﾉｳｴ "
    "木村 ｷﾑﾗ 林 ﾊﾔｼ 斎藤 ｻｲﾄｳ 清水 ｼﾐｽﾞ 山崎 ﾔﾏｻﾞｷ 森 ﾓﾘ 池田 ｲｹﾀﾞ 橋本 ﾊｼﾓﾄ 阿部 ｱﾍﾞ "
    "石川 ｲｼｶﾜ 山下 ﾔﾏｼﾀ 中島 ﾅｶｼﾞﾏ 石井 ｲｼｲ 小川 ｵｶﾞﾜ 前田 ﾏｴﾀﾞ 岡田 ｵｶﾀﾞ 長谷川 ﾊｾｶﾞﾜ "
    "藤田 ﾌｼﾞﾀ 後藤 ｺﾞﾄｳ 近藤 ｺﾝﾄﾞｳ 村上 ﾑﾗｶﾐ 遠藤 ｴﾝﾄﾞｳ 青木 ｱｵｷ 坂本 ｻｶﾓﾄ 福田 ﾌｸﾀﾞ "
    "太田 ｵｵﾀ 西村 ﾆｼﾑﾗ 藤井 ﾌｼﾞｲ 岡本 ｵｶﾓﾄ 三浦 ﾐｳﾗ 藤原 ﾌｼﾞﾜﾗ 松田 ﾏﾂﾀﾞ 中川 ﾅｶｶﾞﾜ "
    "中野 ﾅｶﾉ 原田 ﾊﾗﾀﾞ 小野 ｵﾉ 田村 ﾀﾑﾗ 竹内 ﾀｹｳﾁ 金子 ｶﾈｺ 和田 ﾜﾀﾞ 中山 ﾅｶﾔﾏ 石田 ｲｼﾀﾞ "
    "上田 ｳｴﾀﾞ 森田 ﾓﾘﾀ 原 ﾊﾗ 柴田 ｼﾊﾞﾀ 酒井 ｻｶｲ 宮崎 ﾐﾔｻﾞｷ"
)
GIVEN: Final = (  # men's and women's names in turn
    "太郎 ﾀﾛｳ 花子 ﾊﾅｺ 健一 ｹﾝｲﾁ 陽子 ﾖｳｺ 誠 ﾏｺﾄ 恵子 ｹｲｺ 大輔 ﾀﾞｲｽｹ 美咲 ﾐｻｷ 翔太 ｼｮｳﾀ "
    "葵 ｱｵｲ 蓮 ﾚﾝ 結衣 ﾕｲ 隆 ﾀｶｼ 幸子 ｻﾁｺ 浩 ﾋﾛｼ 由美 ﾕﾐ 直樹 ﾅｵｷ 直美 ﾅｵﾐ 拓也 ﾀｸﾔ 愛 ｱｲ "
    "和夫 ｶｽﾞｵ 和子 ｶｽﾞｺ 茂 ｼｹﾞﾙ 節子 ｾﾂｺ 清 ｷﾖｼ 京子 ｷｮｳｺ 博 ﾋﾛｼ 真由美 ﾏﾕﾐ 修 ｵｻﾑ "
    "久美子 ｸﾐｺ 悠真 ﾕｳﾏ 陽菜 ﾋﾅ 湊 ﾐﾅﾄ 凛 ﾘﾝ 樹 ｲﾂｷ 詩 ｳﾀ"
)
TOWNS: Final = (
    "若葉町 潮見町 青空町 白樺町 春日野町 月見台 星が丘 桜並木町 松風町 緑園町 夕凪町 "
    "朝霧町 花園町 水車町 石橋町 鐘楼町 灯台町 船着町 織物町 紺屋町 鍛冶屋町 米倉町 "
    "塩浜町 竹林町 南風町 北野原 東雲台 西浜町"
)
FULL_WIDTH: Final = [chr(0xFF10 + digit) for digit in range(10)]


def register(count: int = RESIDENTS) -> bytes:
    """Return the export of `count` residents: a header line, then 128 bytes for each."""
    family, given, towns = _pairs(FAMILY), _pairs(GIVEN), TOWNS.split()
    household, place = _households(count)
    heads = int(household[-1]) + 1
    name = _draw("family", heads, len(family))[household]
    age_days = _ages(place, _draw("age", heads, 60 * 365)[household], count)
    is_woman = _draw("sex", count, 2)
    own = 2 * _draw("given", count, len(given) // 2) + is_woman
    income = _incomes(age_days, count)
    digit, pair = _table(FULL_WIDTH, 2), _table([a + b for a in FULL_WIDTH for b in FULL_WIDTH], 4)
    numbers = np.arange(count, dtype=np.int64) + 1
    towns_drawn = _draw("town", heads, len(towns))
    kana = _spaced([f[1] for f in family], [g[1] for g in given])
    kanji = _spaced([f[0] for f in family], [g[0] for g in given])
    columns = (
        _digits(numbers * 10 + numbers * 7 % 11 % 10, 10),  # the last one is a check digit
        _digits(household + 10_000_001, 8),
        _table(kana, 16)[name * len(given) + own],
        _table(kanji, 14, "\u3000")[name * len(given) + own],
        _dates(age_days),
        _digits(is_woman + 1, 1),
        _digits(9_990_001 + towns_drawn * 7, 7)[household],
        _table(towns, 8, "\u3000")[towns_drawn][household],
        digit[_draw("chome", heads, 7) + 1][household],
        np.tile(_table(["丁目"], 4), (count, 1)),
        pair[_draw("ban", heads, 40) + 1][household],
        np.tile(_table(["番"], 2), (count, 1)),
        _digits(9900 + _draw("bank", heads, 12), 4)[household],
        _digits(_draw("branch", heads, 180) + 101, 3)[household],
        _digits(1 + (_draw("kind", count, 9) == 0), 1),
        _digits(_draw("account", count, 10_000_000), 7),
        _digits(income, 8),
        _digits(np.maximum(income - 1_100_000, 0) * 6 // 100, 6),
    )
    return HEADER.encode("cp932") + _lines(columns, joined=(7, 8, 9, 10)).tobytes()


def _lines(columns: tuple[Bytes2D, ...], joined: tuple[int, ...]) -> Bytes2D:
    """Return one line a row: columns with commas between them but after the `joined` ones."""
    widths = [c.shape[1] + (i not in joined) for i, c in enumerate(columns)]
    lines = np.full((len(columns[0]), sum(widths) + 1), ord(","), np.uint8)
    at = 0
    for column, width in zip(columns, widths, strict=True):
        lines[:, at : at + column.shape[1]] = column
        at += width
    lines[:, -2:] = np.frombuffer(b"\r\n", np.uint8)
    return lines


def _draw(field: str, count: int, below: int) -> Ints:
    """Return `count` whole numbers from 0 to `below` - 1 (below 2^32), decided by `field` alone."""
    start = np.uint64(int.from_bytes(hashlib.sha256(field.encode()).digest()[:8], "little"))
    mixed = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    high = (mixed ^ mixed >> np.uint64(31)) >> np.uint64(32)
    return (high * np.uint64(below) >> np.uint64(32)).astype(np.int64)


def _households(count: int) -> tuple[Ints, Ints]:
    """Return the household of each resident, and the place of each in it (0 is first)."""
    sizes = np.array([1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5])[_draw("household", count, 11)]
    starts = np.cumsum(sizes) - sizes
    household = np.repeat(np.arange(count, dtype=np.int64), sizes)[:count]
    return household, np.arange(count, dtype=np.int64) - starts[household]


def _ages(place: Ints, head_days: Ints, count: int) -> Ints:
    """Return ages in days: two of about an age in a household, and their children."""
    head = head_days + 21 * 365
    partner = np.maximum(head + _draw("partner", count, 3650) - 1825, 20 * 365)
    child = np.maximum(head - 21 * 365, 400) * (1 + _draw("child", count, 99)) // 100
    return np.where(place == 0, head, np.where(place == 1, partner, child))


def _incomes(age_days: Ints, count: int) -> Ints:
    """Return yearly incomes in yen: skewed, none for children, less for the old."""
    skewed = 900_000 + _draw("income", count, 3000) * _draw("wage", count, 3000)
    earned = np.where(age_days > 65 * 365, skewed // 3, skewed)
    return np.where(age_days < 18 * 365, 0, earned)


def _dates(age_days: Ints) -> Bytes2D:
    days = np.datetime64(EXPORTED, "D") - age_days.astype("timedelta64[D]")
    months = days.astype("datetime64[M]")
    years = days.astype("datetime64[Y]")
    day = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    month = (months - years.astype("datetime64[M]")).astype(np.int64) + 1
    return _digits((years.astype(np.int64) + 1970) * 10_000 + month * 100 + day, 8)


def _digits(numbers: Ints, width: int) -> Bytes2D:
    digits = np.empty((len(numbers), width), np.uint8)
    rest = numbers
    for place in reversed(range(width)):
        rest, digit = np.divmod(rest, 10)
        digits[:, place] = digit + ord("0")
    return digits


def _table(texts: list[str], width: int, padding: str = " ") -> Bytes2D:
    """Return texts as rows of `width` CP932 bytes, padded on the right."""
    fill = padding.encode("cp932")
    rows = [text.encode("cp932") for text in texts]
    padded = b"".join(row + fill * ((width - len(row)) // len(fill)) for row in rows)
    return np.frombuffer(padded, np.uint8).reshape(len(texts), width)


def _pairs(words: str) -> list[tuple[str, str]]:
    each = words.split()
    return list(zip(each[::2], each[1::2], strict=True))


def _spaced(families: list[str], givens: list[str]) -> list[str]:
    space = " " if families[0].encode("cp932")[0] in range(0xA1, 0xE0) else "\u3000"
    return [f"{family}{space}{given}" for family in families for given in givens]
