"""Measurements that write ``benchmarks/results/*.json``; every figure of the README comes from there."""
