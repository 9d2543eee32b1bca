# The last hop into a container, for x86-64: does a list of system calls that its creator left in its data.
#
# A step is ten words: number, six arguments, where to store the result (0: nowhere), the step to go on with when the result is
# positive (0: the next), and the table for failures (0: go on). A table's line is five words: errno (0: any), descriptor,
# message, its length, exit status. See __init__.py, which makes the data.
#
#     as -o x.o x86_64.s && objcopy -O binary x.o x.bin

        .text
start:  mov     $0x401000, %ebx
step:   mov     (%rbx), %rax
        mov     8(%rbx), %rdi
        mov     16(%rbx), %rsi
        mov     24(%rbx), %rdx
        mov     32(%rbx), %r10
        mov     40(%rbx), %r8
        mov     48(%rbx), %r9
        syscall
        mov     56(%rbx), %rcx
        test    %rcx, %rcx
        jz      check
        mov     %rax, (%rcx)
check:  cmp     $-4095, %rax
        jae     failed
        test    %rax, %rax
        jle     next
        mov     64(%rbx), %rcx
        test    %rcx, %rcx
        jz      next
        mov     %rcx, %rbx
        jmp     step
next:   add     $80, %rbx
        jmp     step
failed: mov     72(%rbx), %rbp
        test    %rbp, %rbp
        jz      next
        neg     %rax
line:   mov     (%rbp), %rdx
        test    %rdx, %rdx
        jz      tell
        cmp     %rdx, %rax
        je      tell
        add     $40, %rbp
        jmp     line
tell:   mov     8(%rbp), %rdi
        mov     16(%rbp), %rsi
        mov     24(%rbp), %rdx
        mov     $1, %eax
        syscall
        mov     32(%rbp), %rdi
        mov     $231, %eax
        syscall
