// Runs an export with LiteRT's C library: no other library, one file, C11.
//
//     cc -O2 -std=c11 -ffp-contract=off -I swift/Sources/CLiteRT examples/c/pocket_tts.c
//        -L $LITERT -Wl,-rpath,$LITERT -lLiteRt -lm -o pocket_tts
//     ./pocket_tts speak FOLDER OUT.wav [SEED]   speaks the first text of the folder's vectors
//     ./pocket_tts replay FOLDER                 compares every recorded run with a new one
//     ./pocket_tts check FOLDER                  hashes every file, as once after a download
//
// $LITERT is the folder of libLiteRt.so (in the Python wheel ai-edge-litert), FOLDER is what
// `python -m exporters.tflite` wrote; docs/contract.md says what is in it. There is no tokenizer
// here: token ids come from vectors.json.

#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "litert.h"

static void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

static void* allocate(size_t size) {
  void* memory = calloc(1, size ? size : 1);
  if (!memory) fail("There is no memory for %zu bytes.", size);
  return memory;
}

// ---------------------------------------------------------------------------------------- files

typedef struct {
  const char* data;
  size_t size;
} Bytes;

static Bytes map_file(const char* folder, const char* name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  int file = open(path, O_RDONLY);
  struct stat state;
  if (file < 0 || fstat(file, &state) != 0 || state.st_size == 0) fail("%s cannot be read.", path);
  void* data = mmap(NULL, (size_t)state.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (data == MAP_FAILED) fail("%s cannot be mapped.", path);
  return (Bytes){data, (size_t)state.st_size};
}

// ----------------------------------------------------------------------------------------- JSON

// A value; the items of an array and the members of an object are a list.
typedef struct Json {
  enum { NOTHING, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT } kind;
  double number;
  char* text;  // of a string
  char* name;  // of a member
  struct Json *first, *next;
} Json;

typedef struct {
  const char *at, *end;
} Reader;

static char peek(Reader* r) {
  while (r->at < r->end && strchr(" \t\r\n", *r->at)) r->at++;
  return r->at < r->end ? *r->at : 0;
}

static void expect(Reader* r, char c) {
  if (peek(r) != c) fail("The JSON is damaged: %c is missing.", c);
  r->at++;
}

// Escapes are kept as they are: what is looked up here has none.
static char* read_text(Reader* r) {
  expect(r, '"');
  const char* start = r->at;
  while (r->at < r->end && *r->at != '"') r->at += *r->at == '\\' ? 2 : 1;
  if (r->at >= r->end) fail("The JSON is damaged: a string has no end.");
  size_t length = (size_t)(r->at++ - start);
  char* text = allocate(length + 1);
  memcpy(text, start, length);
  return text;
}

static Json* read_json(Reader* r) {
  Json* value = allocate(sizeof *value);
  char c = peek(r);
  if (c == '{' || c == '[') {
    value->kind = c == '{' ? OBJECT : ARRAY;
    char end = c == '{' ? '}' : ']';
    r->at++;
    for (Json** place = &value->first; peek(r) != end; place = &(*place)->next) {
      if (place != &value->first) expect(r, ',');
      char* name = NULL;
      if (c == '{') {
        name = read_text(r);
        expect(r, ':');
      }
      *place = read_json(r);
      (*place)->name = name;
    }
    r->at++;
  } else if (c == '"') {
    value->kind = STRING;
    value->text = read_text(r);
  } else if (c && strchr("-0123456789", c)) {
    char* end;
    value->kind = NUMBER;
    value->number = strtod(r->at, &end);
    r->at = end;
  } else if (c == 't' || c == 'f') {
    value->kind = BOOLEAN;
    value->number = c == 't';
    r->at += c == 't' ? 4 : 5;
  } else if (c == 'n') {
    r->at += 4;
  } else {
    fail("The JSON is damaged.");
  }
  return value;
}

static const Json* find(const Json* object, const char* name) {
  for (const Json* member = object->first; member; member = member->next)
    if (member->name && !strcmp(member->name, name)) return member;
  return NULL;
}

static const Json* member(const Json* object, const char* name) {
  const Json* found = find(object, name);
  if (!found) fail("The folder is damaged: a file has no field %s.", name);
  return found;
}

static int integer(const Json* object, const char* name) { return (int)member(object, name)->number; }

static int length_of(const Json* array) {
  int count = 0;
  for (const Json* item = array->first; item; item = item->next) count++;
  return count;
}

static Json* read_json_file(const char* folder, const char* name) {
  Bytes file = map_file(folder, name);
  Reader reader = {file.data, file.data + file.size};
  return read_json(&reader);
}

// -------------------------------------------------------------------------- SHA-256 (FIPS 180-4)

static uint32_t rotate(uint32_t x, int bits) { return x >> bits | x << (32 - bits); }

static void hash_block(uint32_t state[8], const uint8_t* block) {
  static const uint32_t constants[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
      0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
      0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
      0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
      0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
      0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
      0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
  for (int i = 16; i < 64; i++)
    w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
           (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
  memcpy(s, state, sizeof s);
  for (int i = 0; i < 64; i++) {
    uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
    uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    uint32_t first = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + choice +
                     constants[i] + w[i];
    uint32_t second = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + majority;
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += first;
    s[0] = first + second;
  }
  for (int i = 0; i < 8; i++) state[i] += s[i];
}

// In hexadecimal, with the zero at its end.
static void sha256(Bytes file, char text[65]) {
  uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const uint8_t* data = (const uint8_t*)file.data;
  size_t whole = file.size / 64 * 64, rest = file.size - whole;
  for (size_t at = 0; at < whole; at += 64) hash_block(state, data + at);
  uint8_t last[128] = {0};
  memcpy(last, data + whole, rest);
  last[rest] = 0x80;
  size_t end = rest < 56 ? 64 : 128;
  for (int i = 0; i < 8; i++) last[end - 1 - i] = (uint8_t)((uint64_t)file.size * 8 >> 8 * i);
  for (size_t at = 0; at < end; at += 64) hash_block(state, last + at);
  for (int i = 0; i < 8; i++) snprintf(text + 8 * i, 9, "%08x", state[i]);
}

static void check_files(const char* folder, const Json* manifest) {
  for (const Json* file = member(manifest, "files")->first; file; file = file->next) {
    char found[65];
    Bytes data = map_file(folder, file->name);
    sha256(data, found);
    munmap((void*)data.data, data.size);
    if (strcmp(found, member(file, "sha256")->text))
      fail("%s/%s is damaged: fetch or export it again.", folder, file->name);
  }
}

// ----------------------------------------------------------------------------------- safetensors

typedef struct {
  Json* header;
  const char* data;
  size_t size;
} Tensors;

static Tensors open_tensors(const char* folder, const char* name) {
  Bytes file = map_file(folder, name);
  uint64_t size;
  if (file.size < 8) fail("%s is damaged.", name);
  memcpy(&size, file.data, 8);
  if (size > file.size - 8) fail("%s is damaged.", name);
  Reader reader = {file.data + 8, file.data + 8 + size};
  return (Tensors){read_json(&reader), file.data + 8 + size, file.size - 8 - size};
}

// The float32 values of a tensor where they lie in the file.
static const float* floats_of(const Tensors* file, const char* name, size_t* count) {
  const Json* entry = member(file->header, name);
  const Json* offsets = member(entry, "data_offsets");
  size_t begin = (size_t)offsets->first->number, end = (size_t)offsets->first->next->number;
  if (strcmp(member(entry, "dtype")->text, "F32") || begin > end || end > file->size)
    fail("The tensor %s cannot be used.", name);
  if (count) *count = (end - begin) / 4;
  return (const float*)(file->data + begin);
}

// ---------------------------------------------------------------------------------------- LiteRT

#define CHECK(call)                                                                \
  do {                                                                             \
    LiteRtStatus status = (call);                                                  \
    if (status != kLiteRtStatusOk) fail("LiteRT: %s gave status %d", #call, status); \
  } while (0)

typedef struct {
  char name[64];
  LiteRtRankedTensorType type;
  size_t bytes;
  float* data;
  bool owns_data;
  LiteRtTensorBuffer buffer;
} Tensor;

typedef struct {
  LiteRtModel model;
  LiteRtCompiledModel compiled;
} Model;

// One signature with its tensors.
typedef struct {
  LiteRtCompiledModel compiled;
  size_t index;
  int num_inputs, num_outputs;
  Tensor tensors[256];  // inputs, then outputs
  LiteRtTensorBuffer buffers[256];
} Call;

static LiteRtEnvironment create_environment(void) {
  LiteRtEnvOption options[2] = {{.tag = kLiteRtEnvOptionTagAutoRegisterAccelerators},
                                {.tag = kLiteRtEnvOptionTagMinLoggerSeverity}};
  options[0].value.type = options[1].value.type = kLiteRtAnyTypeInt;
  options[0].value.int_value = kLiteRtHwAcceleratorCpu;
  options[1].value.int_value = 3;  // errors only
  LiteRtEnvironment environment;
  CHECK(LiteRtCreateEnvironment(2, options, &environment));
  return environment;
}

static void keep(void* text) { (void)text; }  // the options only point at their text

static Model load_model(LiteRtEnvironment environment, const char* folder, const char* name) {
  // ":memory" packs the weights once for all signatures; a file's path would keep them.
  static char text[] = "num_threads = 2\nweight_cache_file_path = \":memory\"\n";
  Bytes file = map_file(folder, name);
  Model model;
  CHECK(LiteRtCreateModelFromBuffer(environment, file.data, file.size, &model.model));
  LiteRtOptions options;
  LiteRtOpaqueOptions opaque;
  CHECK(LiteRtCreateOptions(&options));
  CHECK(LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu));
  CHECK(LiteRtCreateOpaqueOptions("xnnpack", text, keep, &opaque));
  CHECK(LiteRtAddOpaqueOptions(options, opaque));
  CHECK(LiteRtCreateCompiledModel(environment, model.model, options, &model.compiled));
  LiteRtDestroyOptions(options);
  return model;
}

// Memory as LiteRT wants it: it starts at a multiple of 64 bytes, and goes on behind its end.
static void give_memory(Tensor* tensor, float* data) {
  size_t count = 1;
  for (unsigned i = 0; i < tensor->type.layout.rank; i++)
    count *= (size_t)tensor->type.layout.dimensions[i];
  tensor->bytes = 4 * count;
  tensor->data = data;
  tensor->owns_data = !data;
  if (!data) {
    void* memory;
    if (posix_memalign(&memory, 64, tensor->bytes + 64)) fail("There is no memory.");
    memset(memory, 0, tensor->bytes + 64);
    tensor->data = memory;
  }
  CHECK(LiteRtCreateTensorBufferFromHostMemory(&tensor->type, tensor->data, tensor->bytes, NULL,
                                               &tensor->buffer));
}

static int dimension(const Tensor* tensor, int i) { return tensor->type.layout.dimensions[i]; }

// Where a call finds memory that others share (caches, states); NULL for memory of its own.
typedef float* (*Shared)(void* owner, const char* name, bool is_output);

static Call* bind_call(const Model* model, const char* name, Shared shared, void* owner) {
  size_t signatures, counts[2];
  CHECK(LiteRtGetNumModelSignatures(model->model, &signatures));
  for (size_t index = 0; index < signatures; index++) {
    LiteRtSignature signature;
    const char* key;
    CHECK(LiteRtGetModelSignature(model->model, index, &signature));
    CHECK(LiteRtGetSignatureKey(signature, &key));
    if (strcmp(key, name)) continue;
    CHECK(LiteRtGetNumSignatureInputs(signature, &counts[0]));
    CHECK(LiteRtGetNumSignatureOutputs(signature, &counts[1]));
    if (counts[0] + counts[1] > 256) fail("%s has too many tensors for this program.", name);
    Call* call = allocate(sizeof *call);
    call->compiled = model->compiled;
    call->index = index;
    call->num_inputs = (int)counts[0];
    call->num_outputs = (int)counts[1];
    for (size_t i = 0; i < counts[0] + counts[1]; i++) {
      bool is_output = i >= counts[0];
      size_t place = is_output ? i - counts[0] : i;
      Tensor* tensor = &call->tensors[i];
      LiteRtTensor handle;
      const char* tensor_name;
      CHECK(is_output ? LiteRtGetSignatureOutputName(signature, place, &tensor_name)
                      : LiteRtGetSignatureInputName(signature, place, &tensor_name));
      CHECK(is_output ? LiteRtGetSignatureOutputTensorByIndex(signature, place, &handle)
                      : LiteRtGetSignatureInputTensorByIndex(signature, place, &handle));
      CHECK(LiteRtGetRankedTensorType(handle, &tensor->type));
      snprintf(tensor->name, sizeof tensor->name, "%s", tensor_name);
      give_memory(tensor, shared ? shared(owner, tensor_name, is_output) : NULL);
      call->buffers[i] = tensor->buffer;
    }
    return call;
  }
  fail("The model has no signature %s.", name);
  return NULL;
}

static void free_call(Call* call) {
  for (int i = 0; call && i < call->num_inputs + call->num_outputs; i++) {
    LiteRtDestroyTensorBuffer(call->buffers[i]);
    if (call->tensors[i].owns_data) free(call->tensors[i].data);
  }
  free(call);
}

static void run(Call* call) {
  CHECK(LiteRtRunCompiledModel(call->compiled, call->index, (size_t)call->num_inputs, call->buffers,
                               (size_t)call->num_outputs, call->buffers + call->num_inputs));
}

static Tensor* tensor_of(Call* call, const char* name, bool is_output) {
  int begin = is_output ? call->num_inputs : 0;
  int end = is_output ? call->num_inputs + call->num_outputs : call->num_inputs;
  for (int i = begin; i < end; i++)
    if (!strcmp(call->tensors[i].name, name)) return &call->tensors[i];
  fail("A signature has no tensor %s.", name);
  return NULL;
}

static float* input(Call* call, const char* name) { return tensor_of(call, name, false)->data; }
static float* output(Call* call, const char* name) { return tensor_of(call, name, true)->data; }

// ----------------------------------------------------------------------------------------- noise

static double polynomial(const double* coefficients, int count, double x) {
  double value = coefficients[count - 1];
  for (int i = count - 2; i >= 0; i--) value = value * x + coefficients[i];
  return value;
}

static double logarithm(double x) {
  double terms[12];
  for (int i = 0; i < 12; i++) terms[i] = 1.0 / (2 * i + 1);
  int exponent;
  double mantissa = frexp(x, &exponent);
  if (mantissa < 0.7071067811865476) {
    mantissa *= 2;
    exponent--;
  }
  double s = (mantissa - 1) / (mantissa + 1);
  return exponent * 0.6931471805599453 + 2 * s * polynomial(terms, 12, s * s);
}

// Wichura's AS 241, PPND16.
static double inverse_normal(double p) {
  static const double centre[2][8] = {
      {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
       1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
       3.3430575583588128105e4, 2.5090809287301226727e3},
      {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
       2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
       5.2264952788528545610e3}};
  static const double near_[2][8] = {
      {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
       3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
       2.27238449892691845833e-2, 7.74545014278341407640e-4},
      {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
       1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
       1.05075007164441684324e-9}};
  static const double far_[2][8] = {
      {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
       2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
       2.71155556874348757815e-5, 2.01033439929228813265e-7},
      {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
       7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
       2.04426310338993978564e-15}};
  double q = p - 0.5;
  if (fabs(q) <= 0.425) {
    double x = 0.180625 - q * q;
    return q * (polynomial(centre[0], 8, x) / polynomial(centre[1], 8, x));
  }
  double r = sqrt(-logarithm(p < 1 - p ? p : 1 - p));
  double distance = r <= 5 ? polynomial(near_[0], 8, r - 1.6) / polynomial(near_[1], 8, r - 1.6)
                           : polynomial(far_[0], 8, r - 5) / polynomial(far_[1], 8, r - 5);
  return q < 0 ? -distance : distance;
}

static void philox(uint64_t counter, uint64_t k0, uint64_t k1, uint64_t out[4]) {
  uint64_t c[4] = {counter, 0, 0, 0};
  for (int round = 0; round < 10; round++) {
    unsigned __int128 a = (unsigned __int128)c[0] * 0xD2E7470EE14C6C93u;
    unsigned __int128 b = (unsigned __int128)c[2] * 0xCA5A826395121157u;
    uint64_t next[4] = {(uint64_t)(b >> 64) ^ c[1] ^ k0, (uint64_t)b,
                        (uint64_t)(a >> 64) ^ c[3] ^ k1, (uint64_t)a};
    memcpy(c, next, sizeof c);
    k0 += 0x9E3779B97F4A7C15u;
    k1 += 0xBB67AE8584CAA73Bu;
  }
  memcpy(out, c, sizeof c);
}

// docs/noise.md, without a clamp.
static void make_noise(uint64_t seed, uint64_t chunk, int frame, int width, double temperature,
                       float* out) {
  double scale = sqrt(temperature);
  for (int i = 0; i < width; i++) {
    uint64_t word = (uint64_t)frame * (uint64_t)width + (uint64_t)i, block[4];
    philox(word / 4, seed, chunk, block);
    double uniform = ((double)(block[word % 4] >> 12) * 2 + 1) * 0x1p-53;
    out[i] = temperature > 0 ? (float)(inverse_normal(uniform) * scale) : 0;
  }
}

// --------------------------------------------------------------------------------- FlowLM's cache

typedef struct {
  int layers, heads, width, capacity, position;
  float **keys, **values;  // each layer's [1, heads, capacity, width]
} Cache;

static Cache* new_cache(const Json* sizes, int capacity) {
  Cache* cache = allocate(sizeof *cache);
  cache->layers = integer(sizes, "layers");
  cache->heads = integer(sizes, "kv_heads");
  cache->width = integer(sizes, "head_dim");
  cache->capacity = capacity;
  cache->keys = allocate((size_t)cache->layers * sizeof(float*));
  cache->values = allocate((size_t)cache->layers * sizeof(float*));
  size_t bytes = 4 * (size_t)cache->heads * (size_t)capacity * (size_t)cache->width;
  for (int i = 0; i < cache->layers; i++)
    for (int kind = 0; kind < 2; kind++) {
      void* memory;
      if (posix_memalign(&memory, 64, bytes + 64)) fail("There is no memory.");
      memset(memory, 0, bytes + 64);
      (kind ? cache->values : cache->keys)[i] = memory;
    }
  return cache;
}

static void free_cache(Cache* cache) {
  for (int i = 0; i < cache->layers; i++) {
    free(cache->keys[i]);
    free(cache->values[i]);
  }
  free(cache->keys);
  free(cache->values);
  free(cache);
}

static float* slot(const Cache* cache, float* layer, int head, int position) {
  return layer + ((size_t)head * (size_t)cache->capacity + (size_t)position) * (size_t)cache->width;
}

// The memory of an input k_3 or v_3.
static float* cache_memory(void* owner, const char* name, bool is_output) {
  Cache* cache = owner;
  int layer;
  if (is_output || (name[0] != 'k' && name[0] != 'v') || sscanf(name + 1, "_%d", &layer) != 1)
    return NULL;
  return (name[0] == 'k' ? cache->keys : cache->values)[layer];
}

// Copy the first `count` of the rows that a call returned to the slots from `position` on.
static void append_rows(Cache* cache, Call* call, int count) {
  if (cache->position + count > cache->capacity) fail("The cache is full.");
  for (int layer = 0; layer < cache->layers; layer++)
    for (int kind = 0; kind < 2; kind++) {
      char name[32];
      snprintf(name, sizeof name, "%c_%d_rows", kind ? 'v' : 'k', layer);
      Tensor* rows = tensor_of(call, name, true);
      size_t stride = (size_t)dimension(rows, 2) * (size_t)cache->width;
      for (int head = 0; head < cache->heads; head++)
        memcpy(slot(cache, (kind ? cache->values : cache->keys)[layer], head, cache->position),
               rows->data + (size_t)head * stride, 4 * (size_t)count * (size_t)cache->width);
    }
  cache->position += count;
}

// The same positions in the next larger cache; NULL where there is none.
static Cache* grow(const Json* sizes, Cache* cache) {
  for (const Json* c = member(sizes, "capacities")->first; c; c = c->next) {
    if ((int)c->number <= cache->capacity) continue;
    Cache* larger = new_cache(sizes, (int)c->number);
    larger->position = cache->position;
    for (int layer = 0; layer < cache->layers; layer++)
      for (int head = 0; head < cache->heads; head++)
        for (int kind = 0; kind < 2; kind++) {
          float* from = (kind ? cache->values : cache->keys)[layer];
          float* to = (kind ? larger->values : larger->keys)[layer];
          memcpy(slot(larger, to, head, 0), slot(cache, from, head, 0),
                 4 * (size_t)cache->position * (size_t)cache->width);
        }
    free_cache(cache);
    return larger;
  }
  fail("Voice, text and speech are too long for this export.");
  return NULL;
}

// A voice file: [2, 1, T, heads, width] for each layer, rotary pairs side by side in the keys.
static void append_voice(Cache* cache, const char* folder, const char* voice) {
  char name[256];
  snprintf(name, sizeof name, "voices/%s.safetensors", voice);
  Tensors file = open_tensors(folder, name);
  const Json* about = find(file.header, "__metadata__");
  if (about && (find(about, "pitch") || find(about, "formants")))
    fail("The voice %s changes pitch or formants after the decoder, which this program cannot.", voice);
  int length = 0, half = cache->width / 2;
  for (int layer = 0; layer < cache->layers; layer++) {
    size_t count;
    snprintf(name, sizeof name, "transformer.layers.%d.self_attn/cache", layer);
    const float* rows = floats_of(&file, name, &count);
    length = (int)(count / 2 / (size_t)(cache->heads * cache->width));
    if (cache->position + length > cache->capacity) fail("The voice does not fit.");
    for (int t = 0; t < length; t++)
      for (int head = 0; head < cache->heads; head++) {
        const float* k = rows + (size_t)(t * cache->heads + head) * (size_t)cache->width;
        const float* v = k + count / 2;
        float* to = slot(cache, cache->keys[layer], head, cache->position + t);
        for (int i = 0; i < half; i++) {
          to[i] = k[2 * i];
          to[half + i] = k[2 * i + 1];
        }
        memcpy(slot(cache, cache->values[layer], head, cache->position + t), v,
               4 * (size_t)cache->width);
      }
  }
  cache->position += length;
}

// ------------------------------------------------------------------------------- text and latents

typedef struct {
  const char* folder;
  const Json* manifest;
  Model flow_lm, mimi;
  int latent_width;
} Speaker;

// Embeddings of the ids from `first` on, as many as fit into one call; returns how many.
static int embed(Call* call, const int* ids, int count) {
  Tensor* tokens = tensor_of(call, "tokens", false);
  int room = dimension(tokens, 1), taken = count < room ? count : room;
  int32_t* to = (int32_t*)tokens->data;
  memset(to, 0, tokens->bytes);
  for (int i = 0; i < taken; i++) to[i] = ids[i];
  run(call);
  return taken;
}

// The smallest N of a prefill_N_cC that holds `wanted`, or else the largest.
static int prefill_size(const Json* manifest, int capacity, int wanted) {
  int best = 0, largest = 0;
  const Json* signatures = member(member(manifest, "signatures"), "flow_lm.tflite");
  for (const Json* s = signatures->first; s; s = s->next) {
    int n, c;
    if (sscanf(s->name, "prefill_%d_c%d", &n, &c) != 2 || c != capacity) continue;
    if (n > largest) largest = n;
    if (n >= wanted && (!best || n < best)) best = n;
  }
  return best ? best : largest;
}

// Read the text into the cache, in pieces of at most as many tokens as there are signatures for.
static void prefill(const Speaker* speaker, Cache* cache, const int* ids, int count) {
  Call* embedder = bind_call(&speaker->flow_lm, "embed_text", NULL, NULL);
  int width = dimension(tensor_of(embedder, "embeddings", true), 2);
  float* embeddings = allocate(4 * (size_t)count * (size_t)width);
  for (int done = 0; done < count;) {
    int taken = embed(embedder, ids + done, count - done);
    memcpy(embeddings + (size_t)done * (size_t)width, output(embedder, "embeddings"),
           4 * (size_t)taken * (size_t)width);
    done += taken;
  }
  free_call(embedder);
  for (int done = 0; done < count;) {
    char name[64];
    int size = prefill_size(speaker->manifest, cache->capacity, count - done);
    int taken = count - done < size ? count - done : size;
    snprintf(name, sizeof name, "prefill_%d_c%d", size, cache->capacity);
    Call* call = bind_call(&speaker->flow_lm, name, cache_memory, cache);
    memcpy(input(call, "embeddings"), embeddings + (size_t)done * (size_t)width,
           4 * (size_t)taken * (size_t)width);
    *input(call, "position") = (float)cache->position;
    run(call);
    append_rows(cache, call, taken);
    free_call(call);
    done += taken;
  }
  free(embeddings);
}

// One step: from a latent and noise to the next latent and the logit of speech having ended.
static float step(Call* call, Cache* cache, const float* latent, const float* noise, int width,
                  float* next) {
  memcpy(input(call, "latent"), latent, 4 * (size_t)width);
  memcpy(input(call, "noise"), noise, 4 * (size_t)width);
  *input(call, "position") = (float)cache->position;
  run(call);
  append_rows(cache, call, 1);
  memcpy(next, output(call, "next_latent"), 4 * (size_t)width);
  return *output(call, "eos_logit");
}

static Call* bind_step(const Speaker* speaker, Cache* cache, int flow_steps) {
  char name[64];
  snprintf(name, sizeof name, "decode_%d_c%d", flow_steps, cache->capacity);
  return bind_call(&speaker->flow_lm, name, cache_memory, cache);
}

// ---------------------------------------------------------------------------------- Mimi's decoder

// Every state goes in under the name under which it came out: two sets of memory take turns.
typedef struct {
  const Speaker* speaker;
  struct State {
    char name[64];
    float* memory[2];
  } states[128];
  int count, turn, position;
  Call* first;  // whose memory the states are
  Call* calls[16][2];  // by frames and turn
} Decoder;

static float* state_memory(void* owner, const char* name, bool is_output) {
  Decoder* decoder = owner;
  for (int i = 0; i < decoder->count; i++)
    if (!strcmp(decoder->states[i].name, name))
      return decoder->states[i].memory[is_output ? 1 - decoder->turn : decoder->turn];
  return NULL;
}

static Decoder* new_decoder(const Speaker* speaker) {
  Decoder* decoder = allocate(sizeof *decoder);
  decoder->speaker = speaker;
  Call* call = decoder->first = bind_call(&speaker->mimi, "decode_1", NULL, NULL);
  for (int i = 0; i < call->num_inputs; i++)
    for (int j = call->num_inputs; j < call->num_inputs + call->num_outputs; j++) {
      if (strcmp(call->tensors[i].name, call->tensors[j].name)) continue;
      struct State* state = &decoder->states[decoder->count++];
      memcpy(state->name, call->tensors[i].name, sizeof state->name);
      state->memory[0] = call->tensors[i].data;  // zeros, as no call has been run
      state->memory[1] = call->tensors[j].data;
    }
  return decoder;
}

static void free_decoder(Decoder* decoder) {
  for (int i = 0; i < 16; i++)
    for (int turn = 0; turn < 2; turn++) free_call(decoder->calls[i][turn]);
  free_call(decoder->first);
  free(decoder);
}

// Samples of `count` latents (1, 2 or 4), frame_size for each.
static void decode(Decoder* decoder, const float* latents, int count, float* samples) {
  const Json* audio = member(decoder->speaker->manifest, "audio");
  Call** call = &decoder->calls[count][decoder->turn];
  char name[32];
  snprintf(name, sizeof name, "decode_%d", count);
  if (!*call) *call = bind_call(&decoder->speaker->mimi, name, state_memory, decoder);
  size_t width = (size_t)decoder->speaker->latent_width;
  memcpy(input(*call, "latents"), latents, 4 * (size_t)count * width);
  *input(*call, "position") = (float)decoder->position;
  run(*call);
  memcpy(samples, output(*call, "audio"), 4 * (size_t)(count * integer(audio, "frame_size")));
  decoder->position += count * integer(audio, "steps_per_frame");
  decoder->turn = 1 - decoder->turn;
}

// The largest N of a decode_N that `most` frames fill.
static int decode_size(const Json* manifest, int most) {
  int best = 1, n;
  const Json* signatures = member(member(manifest, "signatures"), "mimi_decoder.tflite");
  for (const Json* s = signatures->first; s; s = s->next)
    if (sscanf(s->name, "decode_%d", &n) == 1 && n <= most && n > best) best = n;
  return best;
}

// Decode a chunk in calls of 1, 1, 2, 4, 4, … frames and fade it in.
static float* decode_chunk(const Speaker* speaker, const float* latents, int frames) {
  const Json* audio = member(speaker->manifest, "audio");
  int frame_size = integer(audio, "frame_size"), fade = integer(audio, "fade_in_samples");
  const Json* wanted = member(audio, "decoder_schedule")->first;
  Decoder* decoder = new_decoder(speaker);
  float* samples = allocate(4 * (size_t)(frames * frame_size));
  for (int done = 0; done < frames;) {
    int most = (int)wanted->number < frames - done ? (int)wanted->number : frames - done;
    int size = decode_size(speaker->manifest, most);
    decode(decoder, latents + done * speaker->latent_width, size, samples + done * frame_size);
    done += size;
    if (wanted->next) wanted = wanted->next;
  }
  free_decoder(decoder);
  for (int i = 0; i < fade && i < frames * frame_size; i++) samples[i] *= (float)i / (float)(fade - 1);
  return samples;
}

// ------------------------------------------------------------------------------------------ speak

typedef struct {
  float* samples;
  size_t count;
} Audio;

static void append_audio(Audio* audio, const float* samples, size_t count) {
  audio->samples = realloc(audio->samples, 4 * (audio->count + count));
  if (!audio->samples) fail("There is no memory.");
  memcpy(audio->samples + audio->count, samples, 4 * count);
  audio->count += count;
}

static int* read_ids(const Json* array, int* count) {
  *count = length_of(array);
  int *ids = allocate((size_t)*count * sizeof *ids), i = 0;
  for (const Json* id = array->first; id; id = id->next) ids[i++] = (int)id->number;
  return ids;
}

// One chunk of text, from its token ids to samples.
static void speak_chunk(const Speaker* speaker, const char* voice, const Json* item, uint64_t seed,
                        int chunk, Audio* audio) {
  const Json* generation = member(speaker->manifest, "generation");
  const Json* sizes = member(speaker->manifest, "cache");
  int width = speaker->latent_width, count, eos_frame = -1, frame = 0;
  int max_frames = integer(item, "max_frames"), tail = integer(item, "frames_after_eos");
  int flow_steps = (int)member(generation, "flow_steps")->first->number;
  double temperature = member(generation, "temperature")->number;
  double threshold = member(generation, "eos_threshold")->number;
  int* ids = read_ids(member(item, "ids"), &count);
  Cache* cache = new_cache(sizes, (int)member(sizes, "capacities")->first->number);
  append_voice(cache, speaker->folder, voice);
  while (cache->position + count + 1 > cache->capacity) cache = grow(sizes, cache);
  prefill(speaker, cache, ids, count);
  Call* call = bind_step(speaker, cache, flow_steps);
  float* latents = allocate(4 * (size_t)(max_frames * width));
  float *latent = allocate(4 * (size_t)width), *noise = allocate(4 * (size_t)width);
  int i = 0;
  for (const Json* v = member(member(speaker->manifest, "constants"), "bos")->first; v; v = v->next)
    latent[i++] = (float)v->number;
  for (; frame < max_frames; frame++) {
    if (cache->position == cache->capacity) {
      free_call(call);
      cache = grow(sizes, cache);
      call = bind_step(speaker, cache, flow_steps);
    }
    make_noise(seed, (uint64_t)chunk, frame, width, temperature, noise);
    float eos = step(call, cache, latent, noise, width, latents + frame * width);
    memcpy(latent, latents + frame * width, 4 * (size_t)width);
    if (eos_frame < 0 && frame >= integer(generation, "frames_before_eos") && eos > threshold)
      eos_frame = frame;
    if (eos_frame >= 0 && frame >= eos_frame + tail) break;  // this frame is not spoken
  }
  float* samples = decode_chunk(speaker, latents, frame);
  int frame_size = integer(member(speaker->manifest, "audio"), "frame_size");
  append_audio(audio, samples, (size_t)(frame * frame_size));
  free(samples);
  free(latents);
  free(latent);
  free(noise);
  free(ids);
  free_call(call);
  free_cache(cache);
}

static void write_wav(const char* path, const Audio* audio, uint32_t rate) {
  FILE* file = fopen(path, "wb");
  if (!file) fail("%s cannot be written.", path);
  uint32_t bytes = (uint32_t)(2 * audio->count), head[4] = {36 + bytes, 16, rate, 2 * rate};
  uint16_t format[2] = {1, 1}, block[2] = {2, 16};
  fwrite("RIFF", 1, 4, file);
  fwrite(&head[0], 4, 1, file);
  fwrite("WAVEfmt ", 1, 8, file);
  fwrite(&head[1], 4, 1, file);
  fwrite(format, 2, 2, file);
  fwrite(&head[2], 4, 2, file);
  fwrite(block, 2, 2, file);
  fwrite("data", 1, 4, file);
  fwrite(&bytes, 4, 1, file);
  for (size_t i = 0; i < audio->count; i++) {
    float sample = fmaxf(-1, fminf(1, audio->samples[i]));
    int16_t value = (int16_t)(sample * 32767);
    fwrite(&value, 2, 1, file);
  }
  if (fclose(file)) fail("%s cannot be written.", path);
}

static void speak(const Speaker* speaker, const char* path, uint64_t seed) {
  Json* vectors = read_json_file(speaker->folder, "vectors.json");
  const Json* text = member(vectors, "texts")->first;
  const Json* voices = member(speaker->manifest, "voices");
  const Json* voice = member(voices, "default");
  if (voice->kind != STRING) voice = member(voices, "names")->first;
  if (!voice) fail("The model has no voice.");
  Audio audio = {NULL, 0};
  int chunk = 0;
  for (const Json* item = member(text, "items")->first; item; item = item->next) {
    const Json* silence = find(item, "silence");
    if (silence) {
      float* zeros = allocate(4 * (size_t)silence->number);
      append_audio(&audio, zeros, (size_t)silence->number);
      free(zeros);
    } else {
      speak_chunk(speaker, voice->text, item, seed, chunk++, &audio);
    }
  }
  uint32_t rate = (uint32_t)integer(member(speaker->manifest, "audio"), "sample_rate");
  write_wav(path, &audio, rate);
  printf("%s: %.2f s of \"%s\"\n", path, (double)audio.count / rate, member(text, "text")->text);
}

// ----------------------------------------------------------------------------------------- replay

static bool failed;

static void compare(const char* run_name, const char* what, const float* found,
                    const float* expected, size_t count, double tolerance) {
  double largest = 0, difference = 0;
  for (size_t i = 0; i < count; i++) {
    largest = fmax(largest, fabs(expected[i]));
    difference = fmax(difference, fabs((double)found[i] - expected[i]));
  }
  double relative = difference / fmax(largest, 1e-12);
  bool good = relative <= tolerance;
  printf("%-12s %-10s %9.2e of the largest value, %s\n", run_name, what, relative,
         good ? "good" : "TOO FAR");
  failed |= !good;
}

// A recorded run again. Each step takes the recorded latent of the step before, so that
// differences do not add up.
static void replay_run(const Speaker* speaker, const Tensors* arrays, const Json* run_,
                       double tolerance) {
  const char* name = member(run_, "name")->text;
  const Json *sizes = member(speaker->manifest, "cache"), *voice = member(run_, "voice");
  int frames = integer(run_, "frames"), spoken = integer(run_, "spoken"), count;
  int width = speaker->latent_width, flow_steps = integer(run_, "flow_steps");
  const float* latents = floats_of(arrays, member(run_, "latents")->text, NULL);
  const float* logits = floats_of(arrays, member(run_, "eos_logits")->text, NULL);
  int* ids = read_ids(member(run_, "ids"), &count);
  Cache* cache = new_cache(sizes, (int)member(sizes, "capacities")->first->number);
  if (voice->kind == STRING) append_voice(cache, speaker->folder, voice->text);
  while (cache->position + count + 1 > cache->capacity) cache = grow(sizes, cache);
  prefill(speaker, cache, ids, count);
  Call* call = bind_step(speaker, cache, flow_steps);
  float* found = allocate(4 * (size_t)(frames * width)), *eos = allocate(4 * (size_t)frames);
  float *latent = allocate(4 * (size_t)width), *noise = allocate(4 * (size_t)width);
  int i = 0;
  for (const Json* v = member(member(speaker->manifest, "constants"), "bos")->first; v; v = v->next)
    latent[i++] = (float)v->number;
  for (int frame = 0; frame < frames; frame++) {
    if (cache->position == cache->capacity) {
      free_call(call);
      cache = grow(sizes, cache);
      call = bind_step(speaker, cache, flow_steps);
    }
    make_noise((uint64_t)member(run_, "seed")->number, (uint64_t)integer(run_, "chunk"), frame, width,
               member(run_, "temperature")->number, noise);
    eos[frame] = step(call, cache, latent, noise, width, found + frame * width);
    memcpy(latent, latents + frame * width, 4 * (size_t)width);
  }
  compare(name, "latents", found, latents, (size_t)(frames * width), tolerance);
  compare(name, "eos_logits", eos, logits, (size_t)frames, tolerance);
  const Json* audio = member(run_, "audio");
  if (audio->kind == STRING) {
    size_t samples;
    const float* expected = floats_of(arrays, audio->text, &samples);
    float* decoded = decode_chunk(speaker, latents, spoken);
    compare(name, "audio", decoded, expected, samples, tolerance);
    free(decoded);
  }
  free(found);
  free(eos);
  free(latent);
  free(noise);
  free(ids);
  free_call(call);
  free_cache(cache);
}

static void replay(const Speaker* speaker) {
  Json* vectors = read_json_file(speaker->folder, "vectors.json");
  Tensors arrays = open_tensors(speaker->folder, "vectors.safetensors");
  double tolerance = member(vectors, "tolerance")->number;
  for (const Json* run_ = member(vectors, "runs")->first; run_; run_ = run_->next) {
    if (find(run_, "rows")) continue;  // batched steps: this program speaks one text at a time
    replay_run(speaker, &arrays, run_, tolerance);
  }
  if (failed) fail("This port does not compute what the export was recorded with.");
}

int main(int count, char** arguments) {
  bool speaks = count >= 4 && !strcmp(arguments[1], "speak");
  bool checks = count == 3 && !strcmp(arguments[1], "check");
  if (!speaks && !checks && !(count == 3 && !strcmp(arguments[1], "replay")))
    fail("Usage: pocket_tts speak FOLDER OUT.wav [SEED] | replay FOLDER | check FOLDER");
  Speaker speaker = {.folder = arguments[2]};
  speaker.manifest = read_json_file(speaker.folder, "manifest.json");
  if (integer(speaker.manifest, "format_version") != 2)
    fail("%s is not of format version 2: export the model again.", speaker.folder);
  if (checks) {
    check_files(speaker.folder, speaker.manifest);
    return 0;
  }
  speaker.latent_width = length_of(member(member(speaker.manifest, "constants"), "bos"));
  LiteRtEnvironment environment = create_environment();
  speaker.flow_lm = load_model(environment, speaker.folder, "flow_lm.tflite");
  speaker.mimi = load_model(environment, speaker.folder, "mimi_decoder.tflite");
  if (speaks)
    speak(&speaker, arguments[3], count > 4 ? strtoull(arguments[4], NULL, 10) : 0);
  else
    replay(&speaker);
  return 0;
}
