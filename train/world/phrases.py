"""Texts of a desktop: interface strings, and the titles, messages and buttons of windows."""

from __future__ import annotations

INTERFACE = tuple("""
Save|Save as|Save all|Open|Open file|Open recent|Close|Close all|Cancel|OK|Apply|Yes|No|Help|About|Quit|Exit|File|Edit|View|Tools|Window
New file|New folder|New tab|New window|Copy|Paste|Cut|Undo|Redo|Delete|Select all|Find|Find next|Replace|Print|Preview|Properties|Rename
Move to trash|Empty trash|Settings|Preferences|Options|Sign in|Sign out|Log in|Log out|Lock screen|Shut down|Restart|Suspend|Sleep|Power off
User name|Password|Forgot password?|Remember me|Show password|Next|Back|Finish|Install|Update|Upgrade|Remove|Download|Upload|Retry|Skip|Stop
File not found|Access denied|Disk full|Low battery|Battery full|No network|Connected|Disconnected|Connecting...|Loading...|Please wait...
Searching...|Not responding|Out of memory|Permission denied|Invalid password|Wrong user name|Try again|Printer ready|Paper jam|No paper
Volume|Brightness|Sound|Display|Keyboard|Mouse|Network|Bluetooth|Wi-Fi|Printers|Users|Date and time|Language|Privacy|Security|Updates
Home|Documents|Downloads|Music|Pictures|Videos|Desktop|Trash|Computer|Full screen|Zoom in|Zoom out|Reset zoom|Reload|Go back|Go forward
Bookmarks|History|Inbox|Sent|Drafts|Spam|Reply|Reply all|Forward|Send|Attach file|Add contact|Play|Pause|Record|Mute|Next track
Line 1 of 20|Page 3 of 12|Ready|Done|Error|Warning|Information|Question|Untitled|Read only|Insert|Column 8|100% done|3 items|No results
Are you sure?|Do you agree?|Save changes?|Delete file?|Replace file?|Restart now?|New message|Missed call|Meeting at 10:30|Backup done
USB drive found|Camera on|Camera off|Microphone on|Airplane mode|Night light|Dark mode|Light mode|Do not disturb|Screen locked|Caps lock
""".replace("\n", "|").strip("|").split("|"))

BUTTONS = ("OK", "Cancel", "Yes", "No", "Save", "Close", "Apply", "Retry", "Ignore", "Abort", "Help", "Open", "Delete", "Next", "Back",
           "Stop", "Quit", "Skip", "Reset", "Later")
KINDS = ("error", "warning", "question", "information", "progress", "login", "input", "settings")
LOW_KINDS = tuple(k for k in KINDS if k not in ("login", "input"))     # those that fit into a low picture
# How a caption names each kind.
KIND_NAMES = {
    "error": "an error dialog", "warning": "a warning dialog", "question": "a question dialog",
    "information": "an information dialog", "progress": "a progress dialog", "login": "a login dialog",
    "input": "an input dialog", "settings": "a settings dialog"}

TITLES = tuple("""
Error|Warning|Question|Notice|Problem|Failed|Disk|Files|Network|Printer|Update|Backup|Mail|Music|Camera|Editor|Terminal|Browser|Calendar
Sound|Display|Battery|Power|Account|Sign in|Unlock|Security|System|Archive|Photos|Viewer|Player|Notes|Clock|Maps|Weather|Games|Contacts
Store|Setup|Rename|Search|Trash|Export|Import|Share|Sync|Scanner|Monitor|Keyboard|Mouse|Bluetooth|Privacy|Fonts|Recorder|Messages|Wallet
""".replace("\n", "|").strip("|").split("|"))

FILES = ("notes.txt", "report.pdf", "photo.jpg", "song.mp3", "list.csv", "todo.md", "backup.zip", "main.c", "index.html", "data.json",
         "letter.odt", "cat.png", "clip.mp4", "draft.doc", "budget.ods", "map.svg", "log.txt", "talk.odp", "font.ttf", "disk.iso")
THINGS = ("printer", "camera", "disk", "server", "scanner", "mouse", "keyboard", "modem", "phone", "tablet", "screen", "speaker",
          "router", "battery", "card", "drive")
PLACES = ("Home", "Music", "Trash", "Desktop", "Pictures", "Documents", "Videos", "Backup")

MESSAGES = {
    "error": ("Cannot open {file}", "The {thing} is missing", "{file} is damaged", "No such file: {file}", "The {thing} failed",
              "Cannot save {file}", "Error {n}", "The {thing} did not answer", "Wrong password", "Access denied"),
    "warning": ("The {thing} is almost full", "{file} has changed", "{n} files are left", "The {thing} is hot", "Low power: {n}%",
                "{file} is very large", "The {thing} is old", "Unsaved changes", "Not secure", "{place} is read only"),
    "question": ("Delete {file}?", "Replace {file}?", "Use the {thing}?", "Save {file}?", "Empty {place}?", "Restart the {thing}?",
                 "Move {n} files?", "Send {file}?", "Close {place}?", "Try again?"),
    "information": ("{file} is saved", "The {thing} is ready", "{n} new messages", "{n} updates found", "{place} is empty",
                    "The {thing} is on", "{file} was sent", "Backup is done", "All is well", "{n} items in {place}"),
    "progress": ("Copying {file}", "Moving {n} files", "Scanning {place}", "Loading {file}", "Sending {file}", "Checking the {thing}",
                 "Emptying {place}", "Printing {file}", "Please wait", "{n} files to go"),
}
SHARED = ("{n} files", "See {file}", "Ask the {thing}", "Look in {place}", "Time is {n}:30", "Step {n} of 99", "Hello", "{file}", "{place}",
          "The {thing}")
FIELDS = ("Name", "Title", "Folder", "Number", "Address", "Subject", "Code", "Tag")
CHECKS = ("Show icons", "Dark mode", "Auto save", "Use sound", "Run at start", "Show grid", "Sync mail", "Night light", "Wrap lines",
          "Ask first", "Keep logs", "Spell check")
USERS = ("anna", "ben", "carla", "david", "emma", "felix", "guest", "admin", "root", "maria", "tom", "zoe")
