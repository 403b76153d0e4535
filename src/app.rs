//! Composition root: builds every room and hands each what it needs.
