//! The stream on real pipes: what children write comes out as whole tagged lines, whatever they and our reader do.

mod gone;
mod history;
mod last_words;
mod left;
mod lines;
mod logfile;
mod pressure;
mod rig;
mod targets;
