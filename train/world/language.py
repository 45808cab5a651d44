"""Words for what the picture generators show: names, plurals, captions and questions.

Every list of templates holds six or more; the last of each six is drawn for test only. MORE_QUESTIONS adds wordings for training. The answers
are short, plain ASCII, without a full stop.
"""

from __future__ import annotations

from train.world.example import coin, pick

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
ODD_PLURALS = {"cross": "crosses"}
RELATIONS = {  # relation of A to B, and the one of B to A
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "lower than"),
}
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
PLACES = {  # position in a caption
    "center": "in the center", "left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom",
    "top left": "at the top left", "top right": "at the top right", "bottom left": "at the bottom left",
    "bottom right": "at the bottom right",
}

QUESTIONS = {
    # shapes
    "shape.count.all": (
        "How many shapes are there?", "How many objects do you see?", "Count the shapes.", "What is the number of shapes?",
        "How many things are in the picture?", "Tell me how many shapes there are."),
    "shape.count": (
        "How many {what} are there?", "How many {what} do you see?", "Count the {what}.", "What is the number of {what}?",
        "How many {what} are in the picture?", "Tell me how many {what} there are."),
    "shape.colour": (
        "What color is the {what}?", "Which color is the {what}?", "What is the color of the {what}?", "Name the color of the {what}.",
        "The {what} is what color?", "Tell me the color of the {what}."),
    "shape.kind": (
        "What shape is {colour}?", "Which shape is {colour}?", "What is the {colour} shape?", "Name the {colour} shape.",
        "What kind of shape is {colour}?", "The {colour} thing is what shape?"),
    "shape.only": (
        "What shape is this?", "What shape do you see?", "Which shape is shown?", "Name the shape.", "What kind of shape is it?",
        "Tell me which shape this is."),
    "shape.only.colour": (
        "What color is it?", "What color is the shape?", "Which color is it?", "Name the color of the shape.", "What is its color?",
        "Tell me the color of this shape."),
    "shape.where": (
        "Where is the {what}?", "In which part of the picture is the {what}?", "Where do you see the {what}?",
        "What is the position of the {what}?", "Say where the {what} is.", "Whereabouts is the {what}?"),
    "shape.side": (
        "Is the {what} on the left or on the right?", "On which side is the {what}, left or right?", "Left or right: where is the {what}?",
        "Is the {what} in the left or the right half?", "Which half holds the {what}, left or right?",
        "Does the {what} lie on the left or the right side?"),
    "shape.height": (
        "Is the {what} at the top or at the bottom?", "Is the {what} in the upper or lower half, top or bottom?",
        "Top or bottom: where is the {what}?", "Is the {what} nearer the top or the bottom?", "Which half holds the {what}, top or bottom?",
        "Does the {what} lie at the top or the bottom?"),
    "shape.relation": (
        "Is the {a} {rel} the {b}?", "Is there {an_a} {rel} the {b}?", "Do you see the {a} {rel} the {b}?",
        "Yes or no: is the {a} {rel} the {b}?", "Would you say the {a} is {rel} the {b}?", "Is it true that the {a} is {rel} the {b}?"),
    "shape.relative": (
        "Where is the {a} relative to the {b}?", "Is the {a} left of, right of, above or below the {b}?",
        "How does the {a} lie to the {b}: left, right, above or below?", "In which direction from the {b} is the {a}?",
        "Seen from the {b}, where is the {a}?", "Which way from the {b} do I find the {a}?"),
    "shape.next": (
        "What is {rel} the {b}?", "What do you see {rel} the {b}?", "Which shape is {rel} the {b}?", "What lies {rel} the {b}?",
        "Name what is {rel} the {b}.", "Which object do I find {rel} the {b}?"),
    "shape.exists": (
        "Is there {what}?", "Do you see {what}?", "Is there {what} in the picture?", "Does the picture show {what}?", "Can you see {what}?",
        "Yes or no: is {what} there?"),
    "shape.largest": (
        "What is the largest shape?", "Which shape is the biggest?", "Name the largest shape.", "What is the biggest thing?",
        "Which shape is larger than the others?", "Which shape has the greatest size?"),
    "shape.smallest": (
        "What is the smallest shape?", "Which shape is the smallest?", "Name the smallest shape.", "What is the smallest thing?",
        "Which shape is smaller than the others?", "Which shape has the least size?"),
    "shape.fill": (
        "Is the {what} solid, striped or outlined?", "How is the {what} drawn: solid, striped or outlined?",
        "Is the {what} filled: solid, striped or outlined?", "Solid, striped or outlined: what is the {what}?",
        "Which texture has the {what}: solid, striped or outlined?", "What fills the {what}: is it solid, striped or outlined?"),
    "shape.arrow": (
        "Which way does the arrow point?", "Where does the arrow point?", "What is the direction of the arrow?",
        "In which direction does the arrow point?", "The arrow points which way?", "Tell me where the arrow is pointing."),
    # emoji and icons
    "sprite.name": (
        "What is this?", "What does the picture show?", "What do you see?", "Name this.", "Which emoji or icon is this?",
        "Tell me what is shown here."),
    "sprite.is": (
        "Is this {what}?", "Does this show {what}?", "Do you see {what}?", "Is {what} shown here?", "Yes or no: is this {what}?",
        "Would you call this {what}?"),
    "sprite.left": (
        "What is on the left?", "What do you see on the left?", "Name the thing on the left.", "Which one is on the left?",
        "What is at the left side?", "The left one is what?"),
    "sprite.right": (
        "What is on the right?", "What do you see on the right?", "Name the thing on the right.", "Which one is on the right?",
        "What is at the right side?", "The right one is what?"),
    "sprite.top": (
        "What is at the top?", "What do you see at the top?", "Name the thing at the top.", "Which one is at the top?",
        "What is in the upper part?", "The top one is what?"),
    "sprite.bottom": (
        "What is at the bottom?", "What do you see at the bottom?", "Name the thing at the bottom.", "Which one is at the bottom?",
        "What is in the lower part?", "The bottom one is what?"),
    "sprite.middle": (
        "What is in the middle?", "What do you see in the middle?", "Name the thing in the middle.", "Which one is in the middle?",
        "What is between the others?", "The middle one is what?"),
    "sprite.count": (
        "How many pictures are there?", "How many icons do you see?", "Count the icons.", "What is the number of icons?",
        "How many emoji are shown?", "Tell me how many icons there are."),
    "sprite.order": (
        "Is the {a} {rel} the {b}?", "Do you see the {a} {rel} the {b}?", "Yes or no: is the {a} {rel} the {b}?",
        "Is there {an_a} {rel} the {b}?", "Would you say the {a} is {rel} the {b}?", "Is it true that the {a} is {rel} the {b}?"),
    # words
    "word.read": (
        "What does it say?", "Read the text.", "What is written here?", "What text do you see?", "Read this.",
        "Tell me what is written."),
    "word.letters": (
        "How many letters does the word have?", "How many letters are there?", "Count the letters.", "What is the number of letters?",
        "How long is the word in letters?", "Tell me how many letters the word has."),
    "word.first": (
        "What is the first letter?", "Which letter does it begin with?", "Name the first letter.", "What letter comes first?",
        "The word starts with which letter?", "With what letter does the text start?"),
    "word.last": (
        "What is the last letter?", "Which letter does it end with?", "Name the last letter.", "What letter comes last?",
        "The word ends with which letter?", "With what letter does the text end?"),
    "word.is": (
        "Does it say {what}?", "Is the word {what}?", "Is {what} written here?", "Do you read {what}?", "Yes or no: does it say {what}?",
        "Would you read this as {what}?"),
    "word.case": (
        "Is it in upper case or lower case?", "Which case is it, upper or lower?", "Upper case or lower case?",
        "Are the letters upper or lower case?", "Is the text in upper or lower case?", "What case are the letters, upper or lower?"),
    "word.shade": (
        "Is the text dark on light or light on dark?", "Light on dark or dark on light?", "Is it dark on light or light on dark?",
        "How is it drawn: dark on light or light on dark?", "Is this dark text on light, or light text on dark: dark on light or light on dark?",
        "Which is it, light on dark or dark on light?"),
    "word.line1": (
        "What is the first line?", "Read the first line.", "What does the upper line say?", "Read the upper line.", "Read the top line.",
        "What does the top line say?"),
    "word.line2": (
        "What is the second line?", "Read the second line.", "What does the lower line say?", "Read the lower line.",
        "Read the bottom line.", "What does the bottom line say?"),
    # windows
    "window.kind": (
        "What kind of window is this?", "Which kind of dialog is this?", "What type of dialog is shown?", "Name the kind of window.",
        "What sort of window do you see?", "Tell me the kind of dialog."),
    "window.title": (
        "What is the title?", "Read the title.", "What is the window called?", "What does the title bar say?",
        "What is the title of the window?", "Tell me the title of this window."),
    "window.message": (
        "What does the message say?", "Read the message.", "What is the message?", "What does the dialog say?",
        "What text is in the window?", "Tell me what the message says."),
    "window.buttons": (
        "Which buttons are there?", "Name the buttons.", "What buttons do you see?", "What do the buttons say?",
        "List the buttons from left to right.", "Read the buttons."),
    "window.button.exists": (
        "Is there a {what} button?", "Do you see a {what} button?", "Does the window have a {what} button?", "Can I press {what}?",
        "Yes or no: is there a {what} button?", "Is {what} one of the buttons?"),
    "window.button.count": (
        "How many buttons are there?", "How many buttons do you see?", "Count the buttons.", "What is the number of buttons?",
        "How many buttons does the window have?", "Tell me how many buttons there are."),
    "window.default": (
        "Which button is highlighted?", "Which button is the default?", "Name the highlighted button.", "What is the highlighted button?",
        "Which button stands out?", "Which button does the Enter key press?"),
    "window.progress": (
        "How far is the progress?", "What percentage is done?", "How much is done?", "What does the progress bar show?",
        "How full is the progress bar?", "Tell me the progress in percent."),
    "window.checked": (
        "Is the box checked?", "Is the check box ticked?", "Is there a mark in the check box?", "Is the option checked?",
        "Yes or no: is the box checked?", "Has the check box been ticked?"),
    "window.scheme": (
        "Is the window light or dark?", "Light or dark: what is the theme?", "Is the theme light or dark?", "Is it a light or a dark window?",
        "Which theme is it, light or dark?", "Does the window use the light or the dark theme?"),
    "caption": (
        "Describe the picture.", "What is in the picture?", "Describe what you see.", "Give a caption.", "Say what the picture shows.",
        "Write a short description of the image."),
}

MORE_QUESTIONS = {      # for training only
    "shape.relative": (
        "From the {b}, which way is the {a}?", "Which way is the {a} from the {b}: left, right, above or below?", "Relative to the {b}, where is the {a}?",
        "Is the {a} to the left, to the right, above or below the {b}?", "Where do I find the {a}, seen from the {b}?",
        "In which direction do I go from the {b} to the {a}?", "Going from the {b} to the {a}, which way do I go?", "Where does the {a} lie, as seen from the {b}?"),
    "shape.where": ("Where do I find the {what}?", "Where is it: the {what}?", "Say in which part the {what} is.", "What is the place of the {what}?", "Where about is the {what}?"),
    "shape.side": ("On what side does the {what} lie, left or right?", "Does the {what} lie left or right?", "Is it left or right, the {what}?"),
    "shape.height": ("Does the {what} lie top or bottom?", "Is it at the top or the bottom, the {what}?", "Is the {what} in the top or the bottom half?"),
    "shape.fill": ("What is the {what} filled with: solid, striped or outlined?", "Say whether the {what} is solid, striped or outlined.", "Is it solid, striped or outlined, the {what}?"),
    "shape.largest": ("Which has the largest size?", "What shape has the greatest area?", "Of the shapes, which is the largest?"),
    "shape.smallest": ("Which has the smallest size?", "What shape has the least area?", "Of the shapes, which is the smallest?"),
    "shape.arrow": ("Where is the arrow pointing?", "Which way is the arrow pointing?", "Say where the arrow points.", "Where does this arrow point to?"),
    "shape.next": ("Which object is {rel} the {b}?", "What do I find {rel} the {b}?", "What shape lies {rel} the {b}?"),
    "shape.relation": ("Is it so that the {a} is {rel} the {b}?", "Does the {a} lie {rel} the {b}?", "Is it right to say the {a} is {rel} the {b}?", "True or not, yes or no: the {a} is {rel} the {b}?"),
    "sprite.order": ("Is it so that the {a} is {rel} the {b}?", "Does the {a} lie {rel} the {b}?", "Is it right to say the {a} is {rel} the {b}?"),
    "shape.kind": ("The {colour} one is what shape?", "What is the shape of the {colour} thing?", "Which kind of shape is the {colour} one?"),
    "window.default": ("Which button does the Return key press?", "What does Enter press?", "Which button is chosen by default?"),
    "word.letters": ("Of how many letters is the word?", "Give the number of letters.", "Tell me the number of letters in the word."),
    "caption": ("Give a short description.", "Write what you see.", "Tell me what the image shows.", "Describe the image in short."),
}

CAPTIONS = {
    "shape": (
        "{x}", "{x}", "a picture of {x}", "the picture shows {x}", "I see {x}", "an image showing {x}"),
    "sprite": (
        "{x}", "{x}", "{x}", "{ax}", "a picture of {ax}", "this image shows {ax}"),
    "word": (
        'the text "{x}"', 'the word "{x}"', 'text that says "{x}"', '"{x}"', 'a picture of the text "{x}"',
        'the writing reads "{x}"'),
    "window": (
        '{ak} titled "{title}" saying "{message}" with {buttons}', '{ak}: "{title}", "{message}", {buttons}',
        'a window, {kind}, title "{title}", message "{message}", {buttons}', '{ak} with the title "{title}", the message "{message}" and {buttons}',
        '"{title}": "{message}", {ak} with {buttons}', '{ak} that says "{message}" under the title "{title}", with {buttons}'),
}


def usable(templates, split: str):
    """The templates of a split: training never sees the last of each six, test prefers it."""
    return templates if split == "test" else [t for i, t in enumerate(templates) if i % 6 != 5]


_usable = {(kind, "train"): [*usable(t, "train"), *MORE_QUESTIONS.get(kind, ())] for kind, t in QUESTIONS.items()}
_held_out = {kind: [t for i, t in enumerate(templates) if i % 6 == 5] for kind, templates in QUESTIONS.items()}
_captions = {kind: usable(t, "train") for kind, t in CAPTIONS.items()}


def ask(rng, split: str, kind: str, answer: str, template: str = "", **slots) -> tuple[str, str, str]:
    """One question of this kind, in a random wording; in test half of the wordings are the held-out ones."""
    name = template or kind
    held_out = split == "test" and coin(rng)
    text = pick(rng, _held_out[name] if held_out else _usable[name, "train"]).format(**slots)
    if coin(rng, 0.1):
        text = text.rstrip("?.")
    if coin(rng, 0.1) and kind not in CASE_MATTERS:
        text = text.lower()
    return kind, text, answer


# Questions that quote text of the picture: lower case would change what they ask.
CASE_MATTERS = frozenset(("word.is", "window.button.exists"))


def caption(rng, split: str, about: str, **slots) -> str:
    held_out = split == "test" and coin(rng, 0.3)
    return (CAPTIONS[about][5] if held_out else pick(rng, _captions[about])).format(**slots)


def a(name: str) -> str:
    """The name with its article."""
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def thing(name: str) -> str:
    """With an article, unless the name is one of many things: 'a cat', but 'admission tickets'."""
    return name if name.endswith("s") and not name.endswith(("ss", "us", "is")) else a(name)


def plural(kind: str) -> str:
    return ODD_PLURALS.get(kind, kind + "s")


def counted(n: int, colour: str, kind: str) -> str:
    return a(f"{colour} {kind}") if n == 1 else f"{NUMBERS[n]} {colour} {plural(kind)}"


def listed(items) -> str:
    """'x', 'x and y', 'x, y and z'"""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
