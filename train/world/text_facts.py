"""What text-only turns know: opposites, shapes, sounds, days, small talk. Plain tables."""

from __future__ import annotations

OPPOSITES = """hot cold|big small|up down|left right|open closed|on off|yes no|day night|black white|fast slow|high low|loud quiet|long short
full empty|light dark|new old|first last|above below|in out|start stop|true false|wet dry|hard soft|early late|near far|push pull|win lose
happy sad|strong weak|thick thin|wide narrow|rich poor|clean dirty|heavy light|front back|top bottom|before after|more less|buy sell
come go|give take|add remove|lock unlock|connect disconnect|sharp dull|smooth rough|deep shallow|easy difficult|inside outside|begin end
save delete|rise fall|arrive leave|accept refuse|find lose|remember forget|question answer|north south|east west|summer winter|morning evening
visible hidden|same different|always never|alive dead|asleep awake|cheap expensive|brave afraid|odd even|love hate|import export"""
OPPOSITE_PAIRS = tuple(tuple(pair.split()) for line in OPPOSITES.split("\n") for pair in line.split("|"))

SIDES = {"triangle": 3, "square": 4, "diamond": 4, "pentagon": 5, "hexagon": 6}
SETS = {  # members of each are told from those of the others
    "color": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray", "cyan"),
    "shape": ("circle", "square", "triangle", "star", "heart", "diamond", "pentagon", "hexagon", "cross", "ring", "arrow", "oval"),
    "sound": ("beep", "chirp", "alarm", "click", "noise", "buzz", "hum", "chime", "siren", "tone", "ping", "knock"),
    "number": ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    "animal": ("cat", "dog", "horse", "cow", "fish", "bird", "mouse", "lion", "tiger", "bear", "wolf", "sheep"),
    "fruit": ("apple", "banana", "cherry", "grape", "lemon", "melon", "peach", "pear", "plum", "mango", "kiwi", "fig"),
    "instrument": ("piano", "guitar", "violin", "flute", "trumpet", "drum", "harp", "cello", "organ", "clarinet", "oboe", "tuba"),
    "device": ("printer", "keyboard", "monitor", "scanner", "webcam", "speaker", "router", "laptop", "tablet", "modem", "camera", "phone"),
}
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
PLURALS = {"cat": "cats", "box": "boxes", "bus": "buses", "child": "children", "mouse": "mice", "man": "men", "woman": "women",
           "city": "cities", "leaf": "leaves", "foot": "feet", "tooth": "teeth", "dish": "dishes", "fox": "foxes", "key": "keys",
           "baby": "babies", "knife": "knives", "watch": "watches", "file": "files", "window": "windows", "button": "buttons",
           "star": "stars", "cross": "crosses", "heart": "hearts", "circle": "circles", "person": "people", "story": "stories"}
TALK = (  # several ways to say the same thing, and the answer
    (("Hello", "Hi", "Good morning", "Hey", "Good evening", "Greetings"), "hello"),
    (("Thank you", "Thanks", "Many thanks", "Thanks a lot", "That helps, thank you", "I thank you"), "you are welcome"),
    (("Goodbye", "Bye", "See you later", "Good night", "Until tomorrow", "Farewell"), "goodbye"),
    (("Who are you?", "What are you?", "What is your name?", "Tell me who you are", "Introduce yourself", "Whom am I talking to?"),
     "I am Percept, the eyes and ears of this machine"),
    (("What can you do?", "How can you help me?", "What are you able to do?", "What is your job?", "What do you do?",
      "Which tasks can you do?"), "I look at pictures, listen to sounds and answer questions"),
    (("Where do you run?", "Where are you running?", "On which computer do you run?", "Are you in the cloud?", "Where do you live?",
      "What machine do you run on?"), "on this machine"),
    (("Does my data leave this machine?", "Do you send my files away?", "Do you upload my pictures?", "Is my data sent anywhere?",
      "Do you share what you see?", "Does anything leave this computer?"), "no"),
    (("Can you see pictures?", "Can you look at images?", "Do you understand pictures?", "Are you able to see?", "Can you view a photo?",
      "Do you have eyes?"), "yes"),
    (("Can you hear sounds?", "Can you listen to audio?", "Do you understand sounds?", "Are you able to hear?",
      "Can you listen to a recording?", "Do you have ears?"), "yes"),
    (("Do you need the network?", "Do you use the internet?", "Must I be online?", "Do you need a connection?",
      "Do you ask a server?", "Is a network needed?"), "no"),
    (("Which language do you speak?", "What language do you understand?", "In which language may I ask?", "Which languages do you know?",
      "What do you speak?", "Which tongue do you use?"), "English"),
    (("How are you?", "How do you do?", "Are you well?", "How is it going?", "How are things?", "Is all well with you?"), "I am well"),
)
