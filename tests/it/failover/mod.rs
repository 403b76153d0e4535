//! The production judge and decider against a seeded world that does its worst.

mod chance;
mod controller;
mod journal;
mod run;
mod scenarios;
mod world;
