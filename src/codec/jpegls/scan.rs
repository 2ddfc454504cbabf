//! Lines of a JPEG-LS scan (T.87 A.3 to A.8), in either direction: the model is the same, only bits are read or written.

use super::Broken;
use super::bits::Bits;
use super::model::{Context, Parameters, RunContext};

/// Lengths of run segments as powers of two (A.7.1).
const J: [u32; 32] = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Codes the lines of one scan.
pub struct Scan<B> {
    bits: B,
    parameters: Parameters,
    limit: u32,
    escape: u32,
    contexts: Vec<Context>,
    runs: [RunContext; 2],
}

/// A component's line with its surroundings: one sample before the first and one after the last.
pub struct Lines {
    /// The line above.
    above: Vec<i32>,
    /// The line that is coded.
    pub line: Vec<i32>,
    run: usize,
}

impl Lines {
    /// Before the first line: all zero.
    pub fn new(width: usize) -> Lines {
        Lines { above: vec![0; width + 2], line: vec![0; width + 2], run: 0 }
    }

    /// Goes to the next line (edges: A.2.1, figure A.2).
    pub fn advance(&mut self) {
        std::mem::swap(&mut self.above, &mut self.line);
        let first = self.above.get(1).copied().unwrap_or(0);
        if let [.., last, beyond] = self.above.as_mut_slice() {
            *beyond = *last;
        }
        if let Some(left) = self.line.first_mut() {
            *left = first;
        }
    }

    /// The coded samples of the line.
    pub fn samples(&mut self) -> &mut [i32] {
        match self.line.as_mut_slice() {
            [_, samples @ .., _] => samples,
            _ => &mut [],
        }
    }

    /// Ra, Rb, Rc, Rd of the sample at `x`, counted from 1.
    fn around(&self, x: usize) -> [i32; 4] {
        let above = |at: usize| self.above.get(at).copied().unwrap_or(0);
        [self.at(x - 1), above(x), above(x - 1), above(x + 1)]
    }

    fn at(&self, x: usize) -> i32 {
        self.line.get(x).copied().unwrap_or(0)
    }

    fn put(&mut self, x: usize, value: i32) {
        if let Some(slot) = self.line.get_mut(x) {
            *slot = value;
        }
    }
}

impl<B: Bits> Scan<B> {
    /// A scan over bits.
    pub fn new(bits: B, parameters: Parameters) -> Scan<B> {
        Scan {
            bits,
            parameters,
            limit: parameters.limit(),
            escape: parameters.escape(),
            contexts: vec![Context::new(&parameters); 365],
            runs: [RunContext::new(&parameters); 2],
        }
    }

    /// The bits, when all lines are coded.
    pub fn into_bits(self) -> B {
        self.bits
    }

    /// Codes the present line of the components that take turns sample by sample (B.1.2.3), or of a single one.
    ///
    /// # Errors
    /// The bits are no such line.
    pub fn line(&mut self, components: &mut [Lines]) -> Result<(), Broken> {
        let width = components.first().map_or(0, |c| c.line.len() - 2);
        let mut x = 1;
        while x <= width {
            let flat = components.iter().all(|c| self.regions(c.around(x)) == [0; 3]);
            if flat {
                x += self.run(components, x, width)?;
                if x > width {
                    break;
                }
                self.interruption(components, x)?;
            } else {
                for component in components.iter_mut() {
                    let sample = self.regular(component.around(x), component.at(x))?;
                    component.put(x, sample);
                }
            }
            x += 1;
        }
        Ok(())
    }

    fn regions(&self, [a, b, c, d]: [i32; 4]) -> [i32; 3] {
        [d - b, b - c, c - a].map(|gradient| self.parameters.region(gradient))
    }

    fn regular(&mut self, around: [i32; 4], actual: i32) -> Result<i32, Broken> {
        let [a, b, c, _] = around;
        let [q1, q2, q3] = self.regions(around);
        let merged = 81 * q1 + 9 * q2 + q3;
        let sign = if merged < 0 { -1 } else { 1 };
        let p = self.parameters;
        let index = usize::try_from(merged.abs()).unwrap_or(0);
        let Some(context) = self.contexts.get_mut(index) else { return Err(Broken::Code) };
        let edge = if c >= a.max(b) {
            a.min(b)
        } else if c <= a.min(b) {
            a.max(b)
        } else {
            a + b - c
        };
        let predicted = (edge + sign * context.correction).clamp(0, p.maxval);
        let k = context.k();
        let mapped = if B::WRITES { context.mapped(p.reduced(sign * (actual - predicted)), k, p.near) } else { 0 };
        let mapped = possible(self.bits.golomb(k, self.limit, self.escape, mapped)?, &p)?;
        let error = context.unmapped(mapped, k, p.near);
        context.learn(error, &p);
        Ok(p.reconstructed(predicted, sign * error))
    }

    /// A run from `x` on; gives how many samples it has.
    fn run(&mut self, components: &mut [Lines], x: usize, width: usize) -> Result<usize, Broken> {
        let near = self.parameters.near;
        let left = width + 1 - x;
        let wanted = if B::WRITES {
            let alike = |at: usize| components.iter().all(|c| (c.at(at) - c.at(x - 1)).abs() <= near);
            (x..=width).take_while(|at| alike(*at)).count()
        } else {
            0
        };
        let mut index = components.first().map_or(0, |c| c.run);
        let mut done = 0;
        let segment = |index: usize| 1usize << J.get(index).copied().unwrap_or(15);
        loop {
            let whole = segment(index);
            // At the end of the line a segment that is begun counts as whole.
            let goes_on = wanted.saturating_sub(done) >= whole || (wanted == left && wanted > done);
            if self.bits.bit(u32::from(B::WRITES && goes_on))? == 0 {
                let width = J.get(index).copied().unwrap_or(15);
                let rest = u32::try_from(wanted.saturating_sub(done)).unwrap_or(0);
                done += self.bits.bits(width, rest)? as usize;
                if done > left {
                    return Err(Broken::Code);
                }
                break;
            }
            if done + whole <= left {
                index = (index + 1).min(31);
            }
            done = (done + whole).min(left);
            if done == left {
                break;
            }
        }
        for component in components.iter_mut() {
            let value = component.at(x - 1);
            (x..x + done).for_each(|at| component.put(at, value));
            component.run = index;
        }
        Ok(done)
    }

    /// The sample that ends a run (A.7.2).
    fn interruption(&mut self, components: &mut [Lines], x: usize) -> Result<(), Broken> {
        let p = self.parameters;
        let single = components.len() == 1;
        for component in components.iter_mut() {
            let [a, b, ..] = component.around(x);
            let alike = single && (a - b).abs() <= p.near;
            let (predicted, sign) = if alike { (a, 1) } else { (b, if a > b { -1 } else { 1 }) };
            let [different, same] = &mut self.runs;
            let context = if alike { same } else { different };
            let k = context.k(alike);
            let actual = component.at(x);
            let mapped = if B::WRITES { context.mapped(p.reduced(sign * (actual - predicted)), k, alike) } else { 0 };
            let shorter = J.get(component.run).copied().unwrap_or(15) + 1;
            let mapped = possible(self.bits.golomb(k, self.limit.saturating_sub(shorter), self.escape, mapped)?, &p)?;
            let error = context.unmapped(mapped, k, alike);
            context.learn(error, mapped, alike, &p);
            component.put(x, p.reconstructed(predicted, sign * error));
        }
        components.iter_mut().for_each(|c| c.run = c.run.saturating_sub(1));
        Ok(())
    }
}

/// Errors of a scan are no larger than its range; damaged bits can say so.
fn possible(mapped: u32, parameters: &Parameters) -> Result<u32, Broken> {
    if i64::from(mapped) <= i64::from(parameters.range()) + 1 { Ok(mapped) } else { Err(Broken::Code) }
}
