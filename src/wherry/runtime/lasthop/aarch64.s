// The last hop into a container, for arm64; see x86_64.s for what it does.

        .text
start:  movz    x19, #0x1000
        movk    x19, #0x40, lsl #16
step:   ldr     x8, [x19]
        ldp     x0, x1, [x19, #8]
        ldp     x2, x3, [x19, #24]
        ldp     x4, x5, [x19, #40]
        svc     #0
        ldr     x9, [x19, #56]
        cbz     x9, check
        str     x0, [x9]
check:  cmn     x0, #4095
        b.hs    failed
        cmp     x0, #0
        b.le    next
        ldr     x9, [x19, #64]
        cbz     x9, next
        mov     x19, x9
        b       step
next:   add     x19, x19, #80
        b       step
failed: ldr     x20, [x19, #72]
        cbz     x20, next
        neg     x21, x0
line:   ldr     x9, [x20]
        cbz     x9, tell
        cmp     x9, x21
        b.eq    tell
        add     x20, x20, #40
        b       line
tell:   ldp     x0, x1, [x20, #8]
        ldr     x2, [x20, #24]
        mov     x8, #64
        svc     #0
        ldr     x0, [x20, #32]
        mov     x8, #94
        svc     #0
