"""What is asked and said about sounds: templates with paraphrases, one in six of them kept for tests, and more wordings for training."""

from __future__ import annotations

from train.world.example import pick
from train.world.sounds import SOUNDS

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
HELD_OUT_EVERY = 6

QUESTIONS: dict[str, tuple[str, ...]] = {
    "sound.class": (
        "What sound is this?", "What do you hear?", "Which sound is it?", "Name the sound.", "What makes this sound?",
        "What is the sound in this recording?", "What kind of sound is this?", "Identify the sound.",
        "What is heard here?", "Tell me what sound this is.", "What sound can be heard?", "What is making this noise?"),
    "sound.count": (
        "How many {many} are there?", "How many {many} do you hear?", "Count the {many}.", "How many {many} can be heard?",
        "What is the number of {many}?", "How many {many} does the recording have?"),
    "sound.kinds": (
        "How many different sounds are there?", "How many kinds of sound do you hear?", "Count the different sounds.",
        "How many different sounds can be heard?", "What is the number of different sounds?",
        "How many kinds of sound does the recording have?"),
    "sound.first": (
        "What comes first?", "What sound comes first?", "Which sound is the first?", "What do you hear first?",
        "What is the first sound?", "What does the recording begin with?"),
    "sound.last": (
        "What comes last?", "What sound comes last?", "Which sound is the last?", "What do you hear last?",
        "What is the last sound?", "What does the recording end with?"),
    "sound.after": (
        "What comes after {the}?", "What follows {the}?", "Which sound comes after {the}?", "What do you hear after {the}?",
        "What is the sound after {the}?", "Which sound follows {the}?"),
    "sound.before": (
        "What comes before {the}?", "What precedes {the}?", "Which sound comes before {the}?", "What do you hear before {the}?",
        "What is the sound before {the}?", "Which sound precedes {the}?"),
    "sound.order": (
        "Does {the} come before {other}?", "Is {the} before {other}?", "Do you hear {the} before {other}?",
        "Is {the} heard earlier than {other}?", "Does {the} sound before {other}?", "Is it {the} first and then {other}?"),
    "sound.exists": (
        "Is there {one}?", "Do you hear {one}?", "Can {one} be heard?", "Is {one} in this recording?", "Does this contain {one}?",
        "Is {one} audible?"),
    "sound.pitch": (
        "Is {the} high or low?", "Is the pitch of {the} high or low?", "Does {the} sound high or low?", "How high is {the}, high or low?",
        "Is {the} a high or a low one?", "What is the pitch of {the}, high or low?"),
    "sound.loudness": (
        "Is the sound loud or quiet?", "Is this loud or quiet?", "Is the recording loud or quiet?", "How loud is it, loud or quiet?",
        "Would you call this loud or quiet?", "Is what you hear loud or quiet?"),
    "sound.louder": (
        "Which is louder, {the} or {other}?", "What is louder, {the} or {other}?", "Which one is louder: {the} or {other}?",
        "Of {the} and {other}, which is louder?", "Is {the} or {other} louder?", "Which has more volume, {the} or {other}?"),
    "caption": (
        "Describe the sound.", "Describe this recording.", "What can be heard, in order?", "Write a caption for this sound.",
        "Describe what you hear.", "List the sounds in order.", "Give a short description of the audio.",
        "What happens in this recording?", "Summarise the audio.", "Caption this audio.", "What do you hear, in order?",
        "Tell me all that can be heard."),
    "audio.type": (
        "Is this speech, music or a sound?", "What is it: speech, music or a sound?", "Do you hear speech, music or a sound?",
        "Is the recording speech, music or a sound?", "Which is it, speech, music or a sound?",
        "Would you call this speech, music or a sound?"),
    "instrument.class": (
        "What instrument is this?", "Which instrument plays?", "Name the instrument.", "What instrument do you hear?",
        "Which instrument is it?", "What is being played?"),
    "instrument.motion": (
        "Do the notes rise, fall or stay the same?", "Is the melody rising, falling or the same?",
        "How do the notes move: rising, falling or the same?", "Are the notes rising, falling or the same?",
        "Does the melody go up, down or stay the same?", "Which way does the melody go: rising, falling or the same?"),
    "instrument.count": (
        "How many notes are there?", "How many notes are played?", "Count the notes.", "How many notes do you hear?",
        "What is the number of notes?", "How many notes does the instrument play?"),
    "instrument.exists": (
        "Is there {one}?", "Do you hear {one}?", "Can {one} be heard?", "Does {one} play?", "Is this {one}?", "Is {one} playing?"),
    "instrument.first": (
        "Which instrument plays first?", "What plays first?", "Which instrument comes first?", "Name the first instrument.",
        "What is the first instrument?", "Which instrument do you hear first?"),
    "instrument.last": (
        "Which instrument plays last?", "What plays last?", "Which instrument comes last?", "Name the last instrument.",
        "What is the last instrument?", "Which instrument do you hear last?"),
    "speech.transcribe": (
        "What is said?", "What does the speaker say?", "Transcribe the speech.", "What are the words?", "Write down what is said.",
        "What does the voice say?", "What did the person say?", "Transcribe this.", "What words are spoken?", "What is being said?",
        "Give me the transcript.", "Turn the speech into text."),
    "speech.command": (
        "What is the command?", "Which command is given?", "What does the speaker ask for?", "What is the computer told to do?",
        "Repeat the command.", "What should be done?"),
    "speech.words": (
        "How many words are spoken?", "How many words are said?", "Count the words.", "How many words does the speaker say?",
        "What is the number of words?", "How many words do you hear?"),
    "speech.contains": (
        "Does the speaker say {word}?", "Is the word {word} spoken?", "Do you hear the word {word}?", "Is {word} said?",
        "Does the voice say {word}?", "Is {word} one of the words?"),
    "speech.first": (
        "What is the first word?", "Which word comes first?", "What word does the speaker begin with?", "Which word is said first?",
        "Name the first word.", "What is the word at the start?"),
    "speech.last": (
        "What is the last word?", "Which word comes last?", "What word does the speaker end with?", "Which word is said last?",
        "Name the last word.", "What is the word at the end?"),
    "speech.number": (
        "What number is said?", "Which number do you hear?", "What is the number?", "Which number is spoken?",
        "Name the number.", "What number does the speaker say?"),
}
MORE_QUESTIONS: dict[str, tuple[str, ...]] = {      # for training only: with few wordings a model learns the wordings and not the words
    "sound.class": (
        "What noise is this?", "What is the source of this sound?", "Which thing makes this noise?", "What could be making this sound?",
        "What is audible here?", "What is this sound made by?", "Say what makes this noise.", "What is it that I hear?", "What was that noise?"),
    "sound.count": (
        "How many {many} does it have?", "How often do you hear the {many}, in number?", "How many {many} are audible?", "Give the number of {many}.",
        "How many {many} does this audio contain?", "Tell me how many {many} there are."),
    "sound.kinds": (
        "How many kinds of noise are there?", "Give the number of different sounds.", "How many sorts of sound are audible?",
        "How many distinct sounds does this have?", "Tell me how many kinds of sound there are."),
    "sound.first": (
        "With what does this begin?", "What does it start with?", "What is heard at the beginning?", "Name the first sound.",
        "What does the audio start with?"),
    "sound.last": (
        "With what does this end?", "What does it finish with?", "What is heard at the end?", "Name the last sound.", "What does the audio close with?"),
    "sound.after": ("What is heard after {the}?", "Once {the} is over, what follows?", "Name the sound that follows {the}.", "{the}: what comes next?"),
    "sound.before": (
        "What is heard before {the}?", "Name the sound that precedes {the}.", "What came just before {the}?", "What leads up to {the}?"),
    "sound.order": (
        "Is {the} first and {other} later?", "Does {the} precede {other}?", "Does {other} follow {the}?", "Is it first {the}, then {other}?",
        "Yes or no: is {the} before {other}?", "Does {other} come after {the}?"),
    "sound.exists": (
        "Does this have {one}?", "Yes or no: is {one} heard?", "Does one hear {one}?", "Is there {one} in the audio?", "Is {one} heard here?",
        "Can you make out {one}?", "Is {one} part of this?", "Is {one} to be heard?", "Did you hear {one}?", "Was there {one}?"),
    "sound.pitch": ("Of what pitch is {the}: high or low?", "High or low: what is {the}?", "Say whether {the} is high or low.", "Would you call {the} high or low?"),
    "sound.loudness": (
        "Loud or quiet?", "Is it loud or quiet?", "Say whether this is loud or quiet.", "Is the audio loud or quiet?", "How strong is the sound, loud or quiet?"),
    "sound.louder": (
        "Which has the greater volume, {the} or {other}?", "Which is stronger, {the} or {other}?", "Say which is louder, {the} or {other}.",
        "Which of the two is louder, {the} or {other}?"),
    "caption": (
        "Say what you hear.", "What is in this audio?", "Tell me what is heard, in order.", "Give a caption.", "What can you hear, all of it?",
        "Describe all that is audible.", "Tell me what happens.", "List what is heard."),
    "audio.type": (
        "Speech, music or a sound?", "Say whether this is speech, music or a sound.", "What would you call it: speech, music or a sound?",
        "Of which kind is it: speech, music or a sound?"),
    "instrument.class": (
        "What is playing?", "What instrument is being used?", "Which instrument is played?", "On what is this played?", "What is this music played on?",
        "Say which instrument plays.", "Which instrument can be heard?", "What instrument makes this music?", "What is the instrument?"),
    "instrument.motion": (
        "Rising, falling or the same?", "Say whether the notes are rising, falling or the same.", "Which way do the notes go: rising, falling or the same?",
        "How does the melody move: rising, falling or the same?"),
    "instrument.count": (
        "Give the number of notes.", "How many notes are audible?", "How many notes does it play?", "Tell me how many notes there are.", "How many notes are in this?"),
    "instrument.exists": (
        "Yes or no: does {one} play?", "Is {one} heard here?", "Is {one} being played?", "Does this have {one}?", "Did you hear {one}?", "Does {one} take part?",
        "Is {one} one of the instruments?"),
    "instrument.first": (
        "What instrument starts?", "With which instrument does this begin?", "Which instrument is heard first?", "What do you hear first?", "Which instrument opens?"),
    "instrument.last": (
        "What instrument ends it?", "With which instrument does this end?", "Which instrument is heard last?", "What do you hear last?", "Which instrument closes?"),
    "speech.transcribe": (
        "Put the speech into writing.", "Convert the speech to text.", "What did they say?", "Make text of what is said.", "Type what is said.",
        "Speech to text.", "Turn what is said into words.", "Write the speech as text.", "Give the words.", "Say what the voice says.",
        "Which words do you hear?", "What do you hear the voice say?", "Take this down.", "Get me the text."),
    "speech.command": (
        "What is the speaker's command?", "What does the voice want?", "What is to be done?", "What should the computer do?", "What must I do?",
        "Which action is wanted?", "What do they want done?", "What was the order?", "Give me the command.", "What would the speaker like to have done?"),
    "speech.words": (
        "Give the number of words.", "How many words does it have?", "Tell me how many words are said.", "How many words are audible?",
        "Of how many words is the speech?"),
    "speech.contains": (
        "Is {word} among the words?", "Yes or no: is {word} said?", "Do the words include {word}?", "Is one of the words {word}?", "Did they say {word}?",
        "Was {word} said?", "Is there the word {word}?", "Does it contain the word {word}?", "Is {word} heard?"),
    "speech.first": (
        "With which word does it start?", "What word is at the beginning?", "What is the word that comes first?", "Say the first word.", "What does it begin with?"),
    "speech.last": (
        "With which word does it finish?", "What word is at the close?", "What is the word that comes last?", "Say the last word.", "What does it end with?"),
    "speech.number": (
        "Which number is it?", "What number is spoken?", "Say the number.", "Tell me the number.", "Which number does the voice say?"),
}
CAPTIONS: dict[str, tuple[str, ...]] = {
    "sound": (
        "{list}", "the sound of {list}", "a recording of {list}", "one hears {list}", "audio of {list}", "the audio has {list}",
        "{list}", "you can hear {list}", "sounds: {list}", "this is {list}", "first of all, {list}", "the recording contains {list}"),
    "instrument": (
        "{one} plays {notes}", "{notes} on {one}", "{notes} played by {one}", "music: {one} plays {notes}", "the sound of {one}: {notes}",
        "one hears {one} that plays {notes}"),
    "instruments": (
        "{a} and then {b}", "first {a}, then {b}", "{a} followed by {b}", "{a} plays, then {b}", "music of {a} and then {b}",
        "one hears {a} before {b}"),
    "speech": (
        "someone says: {text}", "a voice says: {text}", "speech: {text}", "a person speaks the words {text}", "the speaker says {text}",
        "the words spoken are: {text}", "someone says {text}", "a voice is saying: {text}", "spoken words: {text}",
        "a recording of the words {text}", "a speaker says: {text}", "one hears the words {text}"),
}


def _of_split(templates: tuple[str, ...], split: str) -> list[str]:
    test = split == "test"
    return [t for i, t in enumerate(templates) if (i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) == test]


_QUESTIONS = {s: {k: _of_split(t, s) for k, t in QUESTIONS.items()} for s in ("train", "test")}
for _kind, _more in MORE_QUESTIONS.items():
    _QUESTIONS["train"][_kind] += _more
_CAPTIONS = {s: {k: _of_split(t, s) for k, t in CAPTIONS.items()} for s in ("train", "test")}


def question(rng, kind: str, split: str, **slots: str) -> str:
    """A way to ask it; one in ten lower case, one in ten without its last mark."""
    q = pick(rng, _QUESTIONS[split][kind]).format(**slots)
    chance = rng.random()
    if chance < 0.1:
        return q.lower()
    return q[:-1] if chance < 0.2 else q


def captions(rng, kind: str, split: str, n: int, **slots: str) -> list[str]:
    """n paraphrases; a list in the slots may be joined in several ways."""
    out = []
    for _ in range(n):
        filled = {k: joined(rng, v) if isinstance(v, list) else v for k, v in slots.items()}
        out.append(pick(rng, _CAPTIONS[split][kind]).format(**filled))
    return list(dict.fromkeys(out))


def joined(rng, parts: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    word = pick(rng, (" and then ", " followed by ", ", then ", " and after that "))
    return ", ".join(parts[:-1]) + word + parts[-1] if len(parts) > 2 else parts[0] + word + parts[1]


def in_order(parts: list[str]) -> str:
    """The one form of a list that answers use: 'two beeps, a bell and then a siren'."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and then " + parts[-1]


def amount(count: int, sound: int) -> str:
    s = SOUNDS[sound]
    return s.one if count == 1 else f"{NUMBER_WORDS[count]} {s.many}"


def definite(count: int, sound: int) -> str:
    s = SOUNDS[sound]
    return "the " + (s.many if count > 1 else s.name)
