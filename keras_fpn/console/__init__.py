"""Errors, progress and files: everything between a program and a person; knows nothing of detection.

    errors     the error that is the user's to mend: one line, exit code 2
    naming     the nearest name to a misspelt one
    files      files written whole or not at all; JSON
    picture_files  which formats of pictures are opened, and up to how many pixels
    exits      how a command ends
    disk       a disk that takes nothing more
    progress   counts of a long job
    screen     what other libraries write there, and control characters, kept away
    text       names of files and classes as a terminal can show them
    signals    SIGTERM as Ctrl-C
"""
