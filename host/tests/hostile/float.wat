;; Computes with vectors and with numbers that are none, which is its right, and traps if the result is another.
(core module $m
  (func (export "handle") (param $call i32) (result i32)
    (if (i32.ne
      (i32x4.extract_lane 3 (i32x4.mul (v128.const i32x4 1 2 3 4) (v128.const i32x4 5 6 7 8)))
      (i32.const 32)) (then (unreachable)))
    (if (f64.eq (f64.div (f64.const 0) (f64.const 0)) (f64.const nan)) (then (unreachable)))
    (i32.const 16)))
