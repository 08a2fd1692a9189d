"""What the operating system gives: files, signals, the terminal.

files        files and folders that are whole or absent, and locks
interrupts   Ctrl-C and termination
progress     progress of long tasks
"""
