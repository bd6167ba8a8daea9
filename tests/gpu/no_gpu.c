/* The CUDA runtime and cuBLAS without a GPU, loaded with LD_PRELOAD before torch.

   "Device" memory is host memory, copies are real, kernels compute nothing. So values are meaningless, but
   torch's own allocator, streams and graph recording run, and these rules of a real device are kept:
   a wait of the host, a copy from unpinned memory or an allocation in a recording is error 900, and everything
   for which the host waits is counted. The layouts are those of CUDA 13. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct { unsigned x, y, z; } dim3;
typedef void *handle;
enum { OK = 0, NOT_READY = 600, UNSUPPORTED_IN_CAPTURE = 900 };
#define ARENA (1ull << 38)

/* counters, read by the tests through ctypes */
long waits, unpinned, launches, recorded, replays, to_host;
size_t free_bytes = 64ull << 30;
static const size_t total_bytes = 80ull << 30;

static char *device_arena, *pinned_arena;
static size_t device_used, pinned_used;
static handle capturing; /* the stream that is being recorded */
static int relaxed, last_error, serial = 16;
static __thread struct { dim3 grid, block; size_t shared; handle stream; } call;

__attribute__((constructor)) static void start(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    device_arena = mmap(0, ARENA, PROT_READ | PROT_WRITE, flags, -1, 0);
    pinned_arena = mmap(0, ARENA, PROT_READ | PROT_WRITE, flags, -1, 0);
}
static int inside(const void *p, const char *arena) { return (char *)p >= arena && (char *)p < arena + ARENA; }
static void *take(char *arena, size_t *used, size_t n) {
    void *p = arena + *used;
    *used += (n + 511) & ~(size_t)511;
    return p;
}
static handle next(void) { return (handle)(intptr_t)(++serial * 16); }
static int illegal(void) { return last_error = UNSUPPORTED_IN_CAPTURE; }
static int wait(void) { waits++; return capturing ? illegal() : OK; }
static int launch(handle stream) {
    if (capturing && stream == capturing) recorded++; else launches++;
    return OK;
}
static int copy(void *to, const void *from, size_t n, int async, handle stream) {
    int pageable = !(inside(to, device_arena) || inside(to, pinned_arena)) ||
                   !(inside(from, device_arena) || inside(from, pinned_arena));
    if (inside(from, device_arena) && !inside(to, device_arena)) to_host++;
    if (pageable) unpinned++;
    if (!async) waits++;
    if (capturing && (pageable || !async)) return illegal();
    memmove(to, from, n);
    return async ? launch(stream) : OK;
}

/* devices */
int cudaGetDeviceCount(int *n) { char *s = getenv("NO_GPU_COUNT"); *n = s ? atoi(s) : 1; return OK; }
static __thread int current;
int cudaGetDevice(int *d) { *d = current; return OK; }
int cudaSetDevice(int d) { current = d; return OK; }
int cudaGetDeviceProperties(char *p, int d) {
    memset(p, 0, 700);
    snprintf(p, 256, "no GPU %d", d);
    char *at = p + 288; /* after name, uuid, luid, luidDeviceNodeMask */
    *(size_t *)at = total_bytes; *(size_t *)(at + 8) = 49152;
    int *f = (int *)(at + 16);
    f[0] = 65536; f[1] = 32;                                  /* registers, warp */
    *(size_t *)(at + 24) = 1 << 30;                           /* memPitch */
    f = (int *)(at + 32);
    f[0] = 1024; f[1] = 1024; f[2] = 1024; f[3] = 64; f[4] = 2147483647; f[5] = 65535; f[6] = 65535;
    *(size_t *)(at + 64) = 65536;                             /* constant memory */
    f = (int *)(at + 72); f[0] = 9; f[1] = 0;                 /* compute capability */
    *(size_t *)(at + 80) = 512; *(size_t *)(at + 88) = 32;    /* texture alignments */
    *(int *)(at + 96) = 132;                                  /* multiprocessors */
    *(int *)(at + 316) = 2048; *(size_t *)(at + 336) = 233472; /* threads and shared memory of each */
    return OK;
}
int cudaDeviceGetAttribute(int *v, int a, int d) {
    *v = a == 1 ? 1024 : a == 10 ? 32 : a == 16 ? 132 : a == 39 ? 2048 : a == 75 ? 9 : a == 76 ? 0 : 1;
    return OK;
}
int cudaDeviceGetStreamPriorityRange(int *low, int *high) { *low = 0; *high = -1; return OK; }
int cudaDeviceCanAccessPeer(int *v, int a, int b) { *v = 0; return OK; }
int cudaDeviceGetPCIBusId(char *s, int n, int d) { snprintf(s, n, "0000:00:0%d.0", d); return OK; }
int cudaDriverGetVersion(int *v) { *v = 13000; return OK; }
int cudaRuntimeGetVersion(int *v) { *v = 13000; return OK; }
int cudaGetLastError(void) { int e = last_error; last_error = OK; return e; }
int cudaPeekAtLastError(void) { return last_error; }
const char *cudaGetErrorString(int e) {
    static char text[64];
    snprintf(text, 64, "error %d of no_gpu.c", e);
    return e == UNSUPPORTED_IN_CAPTURE ? "operation not permitted when stream is capturing" : text;
}
const char *cudaGetErrorName(int e) { return cudaGetErrorString(e); }
static int driver_zero() { return OK; }
int cuDevicePrimaryCtxGetState(int d, unsigned *flags, int *active) { *flags = 0; *active = 1; return OK; }
int cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned version, uint64_t flags, int *status) {
    *f = strcmp(name, "cuDevicePrimaryCtxGetState") ? (void *)driver_zero : (void *)cuDevicePrimaryCtxGetState;
    if (status) *status = 0;
    return OK;
}
int cuCtxGetCurrent(handle *c) { *c = (handle)16; return OK; }
int cuModuleLoad() { return OK; }
int cuModuleLoadData() { return OK; }
int cuModuleLoadDataEx() { return OK; }
int cuModuleUnload() { return OK; }
int cuModuleGetFunction() { return OK; }
int cuModuleGetGlobal_v2() { return OK; }
int cuOccupancyMaxActiveBlocksPerMultiprocessor() { return OK; }
int cuGetErrorString() { return OK; }
int cuCtxSetCurrent() { return OK; }
int cuDevicePrimaryCtxRetain() { return OK; }
int cuLinkCreate_v2() { return OK; }
int cuLinkAddData_v2() { return OK; }
int cuLinkComplete() { return OK; }
int cuFuncSetAttribute() { return OK; }
int cuFuncGetAttribute() { return OK; }
int cuPointerGetAttribute() { return OK; }
int cuTensorMapEncodeTiled() { return OK; }
int cuLaunchCooperativeKernel() { return OK; }

/* memory */
int cudaMemGetInfo(size_t *free, size_t *total) { *free = free_bytes; *total = total_bytes; return OK; }
int cudaMalloc(void **p, size_t n) {
    if (capturing && !relaxed) return illegal();
    *p = take(device_arena, &device_used, n);
    return OK;
}
int cudaFree(void *p) { return OK; }
int cudaHostAlloc(void **p, size_t n, unsigned flags) { *p = take(pinned_arena, &pinned_used, n); return OK; }
int cudaFreeHost(void *p) { return OK; }
int cudaPointerGetAttributes(int *a, const void *p) {
    memset(a, 0, 24);
    a[0] = inside(p, device_arena) ? 2 : inside(p, pinned_arena) ? 1 : 0;
    *(const void **)(a + 2) = p; *(const void **)(a + 4) = a[0] == 1 ? p : 0;
    return OK;
}
int cudaMemcpy(void *to, const void *from, size_t n, int kind) { return copy(to, from, n, 0, 0); }
int cudaMemcpyAsync(void *to, const void *from, size_t n, int kind, handle s) { return copy(to, from, n, 1, s); }
int cudaMemset(void *p, int v, size_t n) { memset(p, v, n); return OK; }
int cudaMemsetAsync(void *p, int v, size_t n, handle s) { memset(p, v, n); return launch(s); }
int cudaGetSymbolAddress(void **p, const void *s) { *p = take(device_arena, &device_used, 4096); return OK; }
int cudaMemcpyToSymbol() { return OK; }

/* streams and events */
int cudaStreamCreate(handle *s) { *s = next(); return OK; }
int cudaStreamCreateWithFlags(handle *s, unsigned f) { *s = next(); return OK; }
int cudaStreamCreateWithPriority(handle *s, unsigned f, int p) { *s = next(); return OK; }
int cudaStreamDestroy(handle s) { return OK; }
int cudaStreamGetPriority(handle s, int *p) { *p = 0; return OK; }
int cudaStreamQuery(handle s) { return capturing ? illegal() : OK; }
int cudaStreamSynchronize(handle s) { return wait(); }
int cudaDeviceSynchronize(void) { return wait(); }
int cudaStreamWaitEvent(handle s, handle e, unsigned f) { return OK; }
int cudaEventCreate(handle *e) { *e = next(); return OK; }
int cudaEventCreateWithFlags(handle *e, unsigned f) { *e = next(); return OK; }
int cudaEventDestroy(handle e) { return OK; }
int cudaEventRecord(handle e, handle s) { return OK; }
int cudaEventRecordWithFlags(handle e, handle s, unsigned f) { return OK; }
int cudaEventQuery(handle e) { return capturing && !relaxed ? illegal() : OK; }
int cudaEventSynchronize(handle e) { return wait(); }
int cudaEventElapsedTime(float *t, handle a, handle b) { *t = 1; return OK; }

/* kernels */
void **__cudaRegisterFatBinary(void *b) { static void *h[4]; return h; }
void __cudaRegisterFatBinaryEnd(void **h) {}
void __cudaUnregisterFatBinary(void **h) {}
void __cudaRegisterFunction() {}
void __cudaRegisterVar() {}
unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t n, handle s) {
    call.grid = g; call.block = b; call.shared = n; call.stream = s;
    return OK;
}
int __cudaPopCallConfiguration(dim3 *g, dim3 *b, size_t *n, handle *s) {
    *g = call.grid; *b = call.block; *n = call.shared; *s = call.stream;
    return OK;
}
int __cudaGetKernel(handle *k, const void *f) { *k = (handle)f; return OK; }
int __cudaLaunchKernel(const void *f, dim3 g, dim3 b, void **a, size_t n, handle s) { return launch(s); }
int cudaLaunchKernel(const void *f, dim3 g, dim3 b, void **a, size_t n, handle s) { return launch(s); }
int cudaLaunchKernelExC(const char *config, const void *f, void **a) { return launch(*(handle *)(config + 32)); }
int cudaFuncGetAttributes(char *a, const void *f) { memset(a, 0, 64); *(int *)(a + 24) = 1024; *(int *)(a + 32) = *(int *)(a + 36) = 90; return OK; }
int cudaFuncSetAttribute() { return OK; }
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n) { *n = 2; return OK; }
int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n) { *n = 2; return OK; }

/* recording */
int cudaThreadExchangeStreamCaptureMode(int *mode) {
    int before = relaxed ? 2 : 0;
    relaxed = *mode == 2; *mode = before;
    return OK;
}
int cudaStreamIsCapturing(handle s, int *status) { *status = capturing && s == capturing; return OK; }
int cudaStreamGetCaptureInfo(handle s, int *status, uint64_t *id, handle *g, void **d, void **e, size_t *n) {
    *status = capturing && s == capturing;
    if (*status && id) *id = 1;
    if (g) *g = 0;
    if (d) *d = 0;
    if (e) *e = 0;
    if (n) *n = 0;
    return OK;
}
int cudaStreamBeginCapture(handle s, int mode) { capturing = s; recorded = 0; return OK; }
int cudaStreamBeginCaptureToGraph(handle s) { capturing = s; recorded = 0; return OK; }
int cudaStreamEndCapture(handle s, handle *g) { capturing = 0; *g = next(); last_error = OK; return OK; }
int cudaGraphGetNodes(handle g, handle *nodes, size_t *n) { *n = recorded; return OK; }
int cudaGraphInstantiateWithFlags(handle *x, handle g, uint64_t f) { *x = next(); return OK; }
int cudaGraphLaunch(handle x, handle s) { replays++; return OK; }
int cudaGraphDestroy(handle g) { return OK; }
int cudaGraphExecDestroy(handle x) { return OK; }
int cudaStreamUpdateCaptureDependencies() { return OK; }
int cudaUserObjectCreate(handle *o) { *o = next(); return OK; }
int cudaUserObjectRelease() { return OK; }
int cudaGraphRetainUserObject() { return OK; }

/* cuBLAS: matrix products are kernels that compute nothing */
static handle blas_stream;
int cublasCreate_v2(handle *h) { *h = next(); return OK; }
int cublasDestroy_v2(handle h) { return OK; }
int cublasSetStream_v2(handle h, handle s) { blas_stream = s; return OK; }
int cublasSetWorkspace_v2() { return OK; }
int cublasSetMathMode() { return OK; }
int cublasGetMathMode(handle h, int *m) { *m = 0; return OK; }
int cublasSetPointerMode_v2() { return OK; }
int cublasGetPointerMode_v2(handle h, int *m) { *m = 0; return OK; }
int cublasSetSmCountTarget() { return OK; }
int cublasSgemm_v2() { return launch(blas_stream); }
int cublasSgemmEx() { return launch(blas_stream); }
int cublasGemmEx() { return launch(blas_stream); }
int cublasGemmStridedBatchedEx() { return launch(blas_stream); }
int cublasSgemmStridedBatched() { return launch(blas_stream); }
int cublasSgemv_v2() { return launch(blas_stream); }
int cublasLtMatmulDescCreate(handle *d) { *d = next(); return OK; }
int cublasLtMatmulDescDestroy() { return OK; }
int cublasLtMatmulDescSetAttribute() { return OK; }
int cublasLtMatmulPreferenceCreate(handle *d) { *d = next(); return OK; }
int cublasLtMatmulPreferenceDestroy() { return OK; }
int cublasLtMatmulPreferenceSetAttribute() { return OK; }
int cublasLtMatrixLayoutCreate(handle *d) { *d = next(); return OK; }
int cublasLtMatrixLayoutDestroy() { return OK; }
int cublasLtMatrixLayoutSetAttribute() { return OK; }
int cublasLtMatmulAlgoGetHeuristic(handle h, handle d, handle a, handle b, handle c, handle e, handle p, int most,
                                   char *results, int *found) {
    memset(results, 0, 96);
    *found = 1;
    return OK;
}
int cublasLtMatmul(handle h, handle d, void *al, void *a, handle la, void *b, handle lb, void *be, void *c, handle lc,
                   void *o, handle lo, void *algo, void *work, size_t n, handle s) { return launch(s); }
