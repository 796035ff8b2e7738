;; Goes round for ever through a branch table of 10 ways.
(core module $m
  (func (export "handle") (param $call i32) (result i32)
    (local $way i32)
    (loop $again
      (local.set $way (i32.add (local.get $way) (i32.const 1)))
      (block $a
        (block $b
          (block $c
            (br_table $a $b $c $a $b $c $a $b $c $again (local.get $way)))))
      (br $again))
    (unreachable)))
