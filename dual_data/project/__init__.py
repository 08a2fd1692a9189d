"""Projects: folders with pipeline/ and prompts/.

loading     finds a project and loads its stages and profiles
new         makes one as a copy
checks      collects all faults of its files
relations   adds and previews a relation
"""
