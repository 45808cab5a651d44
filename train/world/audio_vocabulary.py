"""What the voices say: single words by group, fixed commands, and commands with slots.

All in the form of a transcript: lower case, no punctuation, numbers as words, one spelling for one sound.
"""

from __future__ import annotations

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def number(n: int) -> str:
    """0 to 100 in words."""
    if n < 20:
        return ONES[n]
    if n == 100:
        return "one hundred"
    tens, ones = TENS[n // 10 - 2], n % 10
    return f"{tens} {ONES[ones]}" if ones else tens


NUMBERS = tuple(number(n) for n in range(101))
COLOURS = "red green blue yellow orange purple pink brown black white gray cyan".split()
SHAPES = "circle square triangle star heart diamond cross ring arrow hexagon pentagon oval semicircle line moon".split()
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
MONTHS = "january february march april june july august september october november december".split()
ACTIONS = ("open close start stop play pause save delete copy paste cut undo print search find send reply forward "
           "download upload install update remove create rename move select zoom scroll click drag drop press type "
           "record mute unlock lock restart shutdown connect disconnect refresh cancel confirm accept reject help show "
           "hide minimize maximize resize rotate share export import sort filter clear reset repeat shuffle skip "
           "continue login logout sleep wake listen speak translate count measure").split()
THINGS = ("file folder window screen desktop browser terminal keyboard mouse printer camera microphone speaker battery "
          "network password account message email picture photo video music song document table button menu page tab "
          "link icon cursor clipboard calendar clock timer alarm calculator editor settings volume brightness bluetooth "
          "internet server database image text letter word number name address phone computer laptop tablet monitor "
          "cable disk memory processor system software program application package version error warning question "
          "answer signal light lamp door house garden kitchen table chair bottle cup book paper pencil").split()
NATURE = ("water fire earth tree flower river mountain ocean island forest cloud rain snow storm wind summer winter "
          "spring autumn animal dog cat horse cow sheep bird fish lion tiger elephant monkey rabbit mouse apple banana "
          "cherry lemon potato tomato carrot onion bread butter cheese coffee sugar").split()
QUALITIES = ("big small large little high low fast slow loud quiet hot cold old young good bad happy sad hard soft "
             "heavy bright dark empty full early late left top bottom middle front back inside outside north south east "
             "first second third last next previous yes no maybe hello goodbye please thanks today tomorrow yesterday "
             "morning evening night always never again now later everything nothing").split()

WORDS = tuple(dict.fromkeys(COLOURS + SHAPES + DAYS + MONTHS + ACTIONS + THINGS + NATURE + QUALITIES + list(NUMBERS[:21])))

COMMANDS = tuple(line.strip() for line in """
open the file manager
open the terminal
open the browser
open the calculator
open the text editor
open the settings
open my documents
open the downloads folder
open a new tab
open a new window
open the last document
open the calendar
open the music player
open the camera
open the help page
close the window
close this tab
close all windows
close the browser
close the terminal
take a screenshot
take a photo
record the screen
record my voice
stop recording
start recording
play some music
play the next song
play the previous song
pause the music
stop the music
shuffle the songs
turn the volume up
turn the volume down
mute the sound
mute the microphone
turn on the camera
turn off the camera
turn on the lights
turn off the lights
turn on bluetooth
turn off bluetooth
turn on the network
turn off the network
turn on dark mode
turn off dark mode
make the screen brighter
make the screen darker
make the text bigger
make the text smaller
lock the screen
unlock the screen
log me out
switch the user
restart the computer
shut down the computer
put the computer to sleep
wake up the computer
show the desktop
show all windows
show the battery level
show the calendar
show hidden files
show my messages
show the weather
show the clipboard
hide this window
minimize the window
maximize the window
move the window left
move the window right
move to the next desktop
scroll up
scroll down
scroll to the top
scroll to the bottom
zoom in
zoom out
go back
go forward
go to the home page
go to sleep
copy this file
copy the text
copy the link
paste the text
cut the selection
select everything
select the first line
delete this file
delete the last word
delete the message
empty the trash
undo the last change
redo the last change
save the file
save the document
save everything
rename this folder
create a new folder
create a new file
find the largest file
find my photos
search the internet
search the documents
print this page
print two copies
send the email
read my email
read the page to me
read the last message
reply to the message
answer the call
end the call
call my mother
check for updates
install the updates
update the system
check the network
check the battery
connect to the printer
connect to the network
disconnect the keyboard
what time is it
what day is it today
what is the weather like
what is on my screen
what is this song
how much memory is free
how full is the disk
how old are you
who sent this message
where is my file
where is the mouse
tell me a joke
tell me the time
describe this picture
describe the screen
translate this page
spell the word
repeat that please
say that again
speak more slowly
speak louder
be quiet please
thank you very much
good morning computer
good night computer
start the presentation
next slide please
stop everything now
cancel the timer
cancel the download
start the backup
eject the disk
ignore the warning
accept the call
try again later
""".strip().splitlines())

APPS = ("file manager", "terminal", "browser", "calculator", "text editor", "calendar", "music player", "mail program",
        "photo viewer", "camera", "settings", "chess game", "weather map", "address book", "password manager")
PLACES = ("desktop", "downloads folder", "music folder", "home folder", "trash", "backup disk", "clipboard")
ROOMS = ("kitchen", "bedroom", "garage", "garden", "office", "bathroom", "hall")
PEOPLE = ("anna", "peter", "maria", "david", "laura", "martin", "julia", "thomas", "emma", "robert")
TOPICS = ("holiday", "meeting", "invoice", "recipe", "birthday", "project", "ticket", "contract", "report", "picture")

# {n} is 1 to 100, {small} 2 to 20; the others are the lists above.
SLOTS = {
    "app": APPS, "place": PLACES, "room": ROOMS, "person": PEOPLE, "topic": TOPICS, "colour": tuple(COLOURS),
    "shape": tuple(SHAPES), "day": tuple(DAYS), "month": tuple(MONTHS), "thing": tuple(THINGS),
    "n": NUMBERS[1:], "small": NUMBERS[2:21], "unit": ("seconds", "minutes", "hours"),
}
SLOT_COMMANDS = (
    "open the {app}", "close the {app}", "switch to the {app}", "install the {app}", "hide the {app}",
    "set volume to {n}", "set brightness to {n}", "set the volume to {n} percent", "zoom to {n} percent",
    "set a timer for {small} {unit}", "remind me in {small} {unit}", "wait {small} {unit}", "skip {small} {unit}",
    "wake me at {small}", "go to page {n}", "go to line {n}", "scroll down {small} lines", "play song number {n}",
    "delete the last {small} words", "print {small} copies", "call {person}", "send an email to {person}",
    "write a message to {person}", "read the message from {person}", "invite {person} on {day}",
    "find the {topic} from {month}", "search for the {topic}", "send the {topic} to {person}",
    "show the {topic} for {month}", "delete the {topic}", "open the {topic}", "move the {topic} to the {place}",
    "copy the file to the {place}", "show the {place}", "search the {place}", "turn on the {room} light",
    "turn off the {room} light", "what is the {topic} about", "show my calendar for {day}", "meet {person} on {day}",
    "paint the {shape} {colour}", "draw a {colour} {shape}", "find the {colour} {shape}", "select the {colour} {thing}",
    "where is the {thing}", "show the {thing}", "turn the {thing} off", "add {small} and {small}",
    "what is {small} plus {small}", "play the {colour} playlist", "the meeting is on {day}",
    "the code is {small} {small} {small}",
)
