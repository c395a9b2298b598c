"""YAML and KEY=VALUE -> a checked configuration, every setting resolved.

    loading             files, inheritance, overrides
    building            a configuration -> an untrained model
    training_settings   how a run is trained
    settings_page       docs/settings.md
"""
