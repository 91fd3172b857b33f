"""Which objects the built-in model knows: one emoji each, with the common word used in captions.

The drawings come from Noto Color Emoji (Debian package fonts-noto-color-emoji). The list keeps
strong, different silhouettes and leaves look-alikes out (one round red fruit, one small bird, ...).
"""

_ANIMALS = """
🐵 monkey|🐶 dog|🐱 cat|🦁 lion|🐯 tiger|🦊 fox|🐼 panda|🐨 koala|🐷 pig|🐸 frog|🐮 cow|🐰 rabbit|
🦒 giraffe|🐘 elephant|🐪 camel|🐢 turtle|🐍 snake|🦕 dinosaur|🐳 whale|🐠 fish|🐙 octopus|
🦀 crab|🐌 snail|🦋 butterfly|🐞 ladybug|🐔 chicken|🐧 penguin|🦉 owl|🦆 duck|🦩 flamingo|
🦔 hedgehog|🦄 unicorn|🐝 bee
"""
_FOOD = """
🍎 apple|🍌 banana|🍇 grapes|🍉 watermelon|🍓 strawberry|🍒 cherries|🍍 pineapple|🍋 lemon|
🥑 avocado|🍆 eggplant|🥕 carrot|🌽 corn|🥦 broccoli|🍄 mushroom|🥐 croissant|🥨 pretzel|🧀 cheese|
🍔 hamburger|🍟 fries|🍕 pizza|🥚 egg|🍿 popcorn|🍦 icecream|🍩 doughnut|🍪 cookie|
🎂 cake|🍭 lollipop|☕ coffee|🍷 wine|🍺 beer
"""
_NATURE = """
🌵 cactus|🌻 sunflower|🌹 rose|🌷 tulip|🌴 palm|🌲 pine|🍁 maple leaf|🍀 clover|☀ sun|🌙 moon|
⭐ star|☁ cloud|🌈 rainbow|⚡ lightning|❄ snowflake|☃ snowman|🔥 fire|🌍 globe
"""
_THINGS = """
🏠 house|🚗 car|🚌 bus|✈ airplane|🚀 rocket|⛵ sailboat|⚓ anchor|
🎈 balloon|🎁 gift|🏆 trophy|⚽ football|🏀 basketball|🎲 die|🎸 guitar|🥁 drum|👑 crown|🎩 hat|
👕 shirt|👗 dress|👟 shoe|👜 handbag|☂ umbrella|⌚ watch|⏰ clock|📷 camera|📺 television|
💡 lamp|📕 book|✏ pencil|✂ scissors|🔑 key|🔒 lock|🔨 hammer|🔔 bell|🧸 teddy bear|🤖 robot|
👻 ghost|🎃 pumpkin|💀 skull|👽 alien|💎 diamond|❤ heart|⌛ hourglass
"""


def _parse(table: str) -> list[tuple[str, str]]:
    cells = (cell.strip() for cell in table.replace("\n", "").split("|"))
    return [(cell[0], cell[1:].strip()) for cell in cells if cell]


OBJECTS: list[tuple[str, str]] = sorted(
    (pair for t in (_ANIMALS, _FOOD, _NATURE, _THINGS) for pair in _parse(t)), key=lambda p: p[1]
)
"""(emoji, name) pairs, sorted by name; an object's index here is its class in every network."""

NAMES: list[str] = [name for _, name in OBJECTS]
