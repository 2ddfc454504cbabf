//! Exchange between hospitals. So far: who produced a study, and whether that hospital may mark it (质评, accreditation).

pub mod live;
pub mod register;
