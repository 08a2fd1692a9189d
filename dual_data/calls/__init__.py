"""Calls of remote services and models.

fetching   fetches every answer once, and replays it
log        the file of answers, requests and pauses
"""
