//! Exchange between hospitals: who takes part, whose exams are recognised, and what each is shown.

pub mod decision;
pub mod entitled;
pub mod live;
pub mod policy;
pub mod register;
pub mod statistics;
