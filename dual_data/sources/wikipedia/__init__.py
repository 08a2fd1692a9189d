"""Inbound links from the Action API of Wikipedia, or of any MediaWiki.

counts       titles -> how many articles link to each; forecast: the calls that this takes
answers      what an answer says of its titles and pages
api          one query in, a checked answer out, through the call log
"""
