"""Classifying: what a recipient's report comes to. A small engine here, the knowledge as data in `*.toml`."""

from worker.classify.engine import classify
from worker.classify.rules import Rule, RuleError, Rules, default_rule_paths, load_rules

__all__ = ["Rule", "RuleError", "Rules", "classify", "default_rule_paths", "load_rules"]
