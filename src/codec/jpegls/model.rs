//! What a JPEG-LS scan is coded with (T.87 A.2 to A.6): parameters, contexts and their adaptation.

/// Parameters of a scan (A.2.1, C.2.4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Largest sample.
    pub maxval: i32,
    /// Largest error of a sample; 0 is lossless.
    pub near: i32,
    /// Thresholds of the gradients.
    pub thresholds: [i32; 3],
    /// Contexts are halved when they have seen so many samples.
    pub reset: i32,
}

impl Parameters {
    /// The defaults for a precision in bits and an error bound (C.2.4.1.1.1).
    pub fn defaults(maxval: i32, near: i32) -> Parameters {
        let clamp = |value: i32, least: i32| if value > maxval || value < least { least } else { value };
        let [a, b, c] = if maxval >= 128 {
            let factor = (maxval.min(4095) + 128) / 256;
            [factor + 2 + 3 * near, factor * 4 + 3 + 5 * near, factor * 17 + 4 + 7 * near]
        } else {
            let factor = 256 / (maxval + 1);
            [(3 / factor + 3 * near).max(2), (7 / factor + 5 * near).max(3), (21 / factor + 7 * near).max(4)]
        };
        let first = clamp(a, near + 1);
        let second = clamp(b, first);
        Parameters { maxval, near, thresholds: [first, second, clamp(c, second)], reset: 64 }
    }

    /// Number of different prediction errors.
    pub fn range(&self) -> i32 {
        if self.near == 0 { self.maxval + 1 } else { (self.maxval + 2 * self.near) / self.step() + 1 }
    }

    /// Distance of neighbouring reconstructed values.
    pub fn step(&self) -> i32 {
        2 * self.near + 1
    }

    /// Bits of a prediction error that is written out.
    pub fn escape(&self) -> u32 {
        bits_for(self.range())
    }

    /// Longest code.
    pub fn limit(&self) -> u32 {
        let bits = bits_for(self.maxval + 1).max(2);
        2 * (bits + bits.max(8))
    }

    /// Region of a gradient, −4 to 4 (A.3.3).
    pub fn region(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let size = gradient.abs();
        let region = if size <= self.near {
            0
        } else if size < t1 {
            1
        } else if size < t2 {
            2
        } else if size < t3 {
            3
        } else {
            4
        };
        if gradient < 0 { -region } else { region }
    }

    /// A difference as the error that is coded (A.4.4, A.4.5): rounded to steps and reduced to the range.
    pub fn reduced(&self, difference: i32) -> i32 {
        let rounded = if self.near == 0 {
            difference
        } else if difference > 0 {
            (difference + self.near) / self.step()
        } else {
            -((self.near - difference) / self.step())
        };
        let range = self.range();
        let positive = if rounded < 0 { rounded + range } else { rounded };
        if positive >= (range + 1) / 2 { positive - range } else { positive }
    }

    /// The sample that a prediction and an error give.
    pub fn reconstructed(&self, predicted: i32, error: i32) -> i32 {
        let value = predicted + error * self.step();
        let round = self.range() * self.step();
        let value = if value < -self.near {
            value + round
        } else if value > self.maxval + self.near {
            value - round
        } else {
            value
        };
        value.clamp(0, self.maxval)
    }
}

/// Bits for `count` different values.
fn bits_for(count: i32) -> u32 {
    count.max(1).cast_unsigned().next_power_of_two().trailing_zeros()
}

/// Statistics of one context (A.2.1): A, B, C, N.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    sizes: i32,
    bias: i32,
    /// Correction of the prediction.
    pub correction: i32,
    seen: i32,
}

/// Statistics of one kind of run interruption (A.7.2): A, N, Nn.
#[derive(Debug, Clone, Copy)]
pub struct RunContext {
    sizes: i32,
    seen: i32,
    negative: i32,
}

fn code_length(seen: i32, sizes: i32) -> u32 {
    (0..24).find(|k| i64::from(seen) << k >= i64::from(sizes)).unwrap_or(24)
}

/// No stream that fits its parameters sums more.
const SIZES: i32 = 1 << 28;

impl Context {
    /// Before the first sample.
    pub fn new(parameters: &Parameters) -> Context {
        Context { sizes: first_size(parameters), bias: 0, correction: 0, seen: 1 }
    }

    /// The Golomb parameter.
    pub fn k(&self) -> u32 {
        code_length(self.seen, self.sizes)
    }

    /// The error as a number without sign (A.5.2).
    pub fn mapped(&self, error: i32, k: u32, near: i32) -> u32 {
        let flipped = near == 0 && k == 0 && 2 * self.bias <= -self.seen;
        let error = if flipped { -error - 1 } else { error };
        (if error >= 0 { 2 * error } else { -2 * error - 1 }).cast_unsigned()
    }

    /// The reverse of `mapped`.
    pub fn unmapped(&self, mapped: u32, k: u32, near: i32) -> i32 {
        let half = (mapped >> 1).cast_signed();
        let error = if mapped & 1 == 0 { half } else { -half - 1 };
        let flipped = near == 0 && k == 0 && 2 * self.bias <= -self.seen;
        if flipped { -error - 1 } else { error }
    }

    /// Learns an error (A.6).
    pub fn learn(&mut self, error: i32, parameters: &Parameters) {
        self.bias = (self.bias + error * parameters.step()).clamp(-SIZES, SIZES);
        self.sizes = (self.sizes + error.abs()).min(SIZES);
        if self.seen >= parameters.reset {
            self.sizes >>= 1;
            self.bias >>= 1;
            self.seen >>= 1;
        }
        self.seen += 1;
        if self.bias <= -self.seen {
            self.bias = (self.bias + self.seen).max(1 - self.seen);
            self.correction = (self.correction - 1).max(-128);
        } else if self.bias > 0 {
            self.bias = (self.bias - self.seen).min(0);
            self.correction = (self.correction + 1).min(127);
        }
    }
}

impl RunContext {
    /// Before the first sample.
    pub fn new(parameters: &Parameters) -> RunContext {
        RunContext { sizes: first_size(parameters), seen: 1, negative: 0 }
    }

    /// The Golomb parameter; `alike` when the neighbours at the left and above are.
    pub fn k(&self, alike: bool) -> u32 {
        code_length(self.seen, self.sizes + if alike { self.seen >> 1 } else { 0 })
    }

    /// The error as a number without sign (A.7.2.1).
    pub fn mapped(&self, error: i32, k: u32, alike: bool) -> u32 {
        let mostly_negative = 2 * self.negative >= self.seen;
        let odd = if error > 0 { k == 0 && !mostly_negative } else { error < 0 && (k != 0 || mostly_negative) };
        (2 * error.abs() - i32::from(alike) - i32::from(odd)).max(0).cast_unsigned()
    }

    /// The reverse of `mapped`.
    pub fn unmapped(&self, mapped: u32, k: u32, alike: bool) -> i32 {
        let doubled = mapped.cast_signed() + i32::from(alike);
        let odd = doubled & 1 == 1;
        let size = (doubled + i32::from(odd)) / 2;
        if (k != 0 || 2 * self.negative >= self.seen) == odd { -size } else { size }
    }

    /// Learns an error and its mapped value.
    pub fn learn(&mut self, error: i32, mapped: u32, alike: bool, parameters: &Parameters) {
        if error < 0 {
            self.negative += 1;
        }
        self.sizes = (self.sizes + ((mapped.cast_signed() + 1 - i32::from(alike)) >> 1)).clamp(0, SIZES);
        if self.seen >= parameters.reset {
            self.sizes >>= 1;
            self.seen >>= 1;
            self.negative >>= 1;
        }
        self.seen += 1;
    }
}

fn first_size(parameters: &Parameters) -> i32 {
    ((parameters.range() + 32) / 64).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_standard() {
        assert_eq!(Parameters::defaults(255, 0).thresholds, [3, 7, 21]);
        assert_eq!(Parameters::defaults(4095, 0).thresholds, [18, 67, 276]);
        assert_eq!(Parameters::defaults(65_535, 0).thresholds, [18, 67, 276]);
        assert_eq!(Parameters::defaults(255, 3).thresholds, [12, 22, 42]);
        assert_eq!((Parameters::defaults(255, 0).limit(), Parameters::defaults(65_535, 0).limit()), (32, 64));
    }

    proptest::proptest! {
        #[test]
        fn every_error_survives_its_mapping(error in -2000i32..2000, bias in -70i32..1, k in 0u32..3, negative in 0i32..9) {
            let context = Context { sizes: 1, bias, correction: 0, seen: 64 };
            proptest::prop_assert_eq!(context.unmapped(context.mapped(error, k, 0), k, 0), error);
            let run = RunContext { sizes: 1, seen: 8, negative };
            for alike in [false, true] {
                // Neighbours that are alike and no difference would not have ended the run.
                if error != 0 || !alike {
                    proptest::prop_assert_eq!(run.unmapped(run.mapped(error, k, alike), k, alike), error);
                }
            }
        }
    }
}
