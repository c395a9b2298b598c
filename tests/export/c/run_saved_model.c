/* Runs requests on a SavedModel through TensorFlow's C API: no Python, no Keras, the loader that TF Serving uses.

   run_saved_model FOLDER REQUEST [-- REQUEST]...

   A REQUEST is a list of
     feed:OPERATION:INDEX:TYPE:SHAPE:FILE   TYPE uint8 or int32, SHAPE as 1x96x128x3, FILE the raw values
     feed:OPERATION:INDEX:string:FILE,...   a vector of strings, each the content of a file
     fetch:NAME:OPERATION:INDEX             printed as "NAME DIMENSION... : VALUE..."
   A request that fails prints "error CODE: MESSAGE", and the next one is run. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>

#define MOST 16

typedef struct {
  TF_Output feeds[MOST], fetches[MOST];
  TF_Tensor *given[MOST];
  const char *names[MOST];
  int feed_count, fetch_count;
} Request;

static void fail(const char *what, const char *which) {
  fprintf(stderr, "%s: %s\n", what, which);
  exit(1);
}

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) fail("cannot open", path);
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  char *content = malloc(*size + 1);
  if (fread(content, 1, *size, file) != *size) fail("cannot read", path);
  fclose(file);
  return content;
}

static char *part(char **rest) { /* the text up to the next colon */
  char *start = *rest, *colon = start ? strchr(start, ':') : NULL;
  if (!start) fail("an argument lacks a part", "see the head of the source");
  if (colon) *colon = 0;
  *rest = colon ? colon + 1 : NULL;
  return start;
}

static TF_Output operation(TF_Graph *graph, char **rest) {
  char *name = part(rest);
  TF_Output output = {TF_GraphOperationByName(graph, name), atoi(part(rest))};
  if (!output.oper) fail("no such operation", name);
  return output;
}

static TF_Tensor *string_tensor(char *files) {
  int64_t count = 0;
  char *paths[MOST];
  for (char *path = strtok(files, ","); path && count < MOST; path = strtok(NULL, ",")) paths[count++] = path;
  TF_Tensor *tensor = TF_AllocateTensor(TF_STRING, &count, 1, (size_t)count * sizeof(TF_TString));
  TF_TString *strings = TF_TensorData(tensor);
  for (int64_t i = 0; i < count; i++) {
    size_t size;
    char *content = read_file(paths[i], &size);
    TF_StringInit(&strings[i]);
    TF_StringCopy(&strings[i], content, size);
    free(content);
  }
  return tensor;
}

static TF_Tensor *number_tensor(TF_DataType type, char *shape, const char *path) {
  int64_t dims[MOST];
  int rank = 0;
  for (char *side = strtok(shape, "x"); side && rank < MOST; side = strtok(NULL, "x")) dims[rank++] = atoll(side);
  size_t size;
  char *content = read_file(path, &size);
  TF_Tensor *tensor = TF_AllocateTensor(type, dims, rank, size);
  memcpy(TF_TensorData(tensor), content, size);
  free(content);
  return tensor;
}

static void print_tensor(const char *name, TF_Tensor *tensor) {
  int64_t count = TF_TensorElementCount(tensor);
  printf("%s", name);
  for (int i = 0; i < TF_NumDims(tensor); i++) printf(" %lld", (long long)TF_Dim(tensor, i));
  printf(" :");
  for (int64_t i = 0; i < count; i++) {
    if (TF_TensorType(tensor) == TF_FLOAT) printf(" %.9g", ((float *)TF_TensorData(tensor))[i]);
    if (TF_TensorType(tensor) == TF_INT32) printf(" %d", ((int32_t *)TF_TensorData(tensor))[i]);
  }
  printf("\n");
}

static void add(Request *request, TF_Graph *graph, char *argument) {
  char *rest = argument, *kind = part(&rest);
  if (request->feed_count == MOST || request->fetch_count == MOST) fail("too many parts in a request", argument);
  if (!strcmp(kind, "fetch")) {
    request->names[request->fetch_count] = part(&rest);
    request->fetches[request->fetch_count++] = operation(graph, &rest);
    return;
  }
  if (strcmp(kind, "feed")) fail("neither feed nor fetch", kind);
  TF_Output feed = operation(graph, &rest);
  char *type = part(&rest), *next = part(&rest);
  TF_DataType number = strcmp(type, "int32") ? TF_UINT8 : TF_INT32;
  request->given[request->feed_count] = strcmp(type, "string") ? number_tensor(number, next, rest) : string_tensor(next);
  request->feeds[request->feed_count++] = feed;
}

static void run(Request *request, TF_Session *session, TF_Status *status) {
  TF_Tensor *found[MOST] = {0};
  TF_SessionRun(session, NULL, request->feeds, request->given, request->feed_count, request->fetches, found,
                request->fetch_count, NULL, 0, NULL, status);
  if (TF_GetCode(status) != TF_OK) printf("error %d: %s\n", TF_GetCode(status), TF_Message(status));
  for (int i = 0; i < request->fetch_count; i++) {
    if (found[i]) print_tensor(request->names[i], found[i]);
    if (found[i]) TF_DeleteTensor(found[i]);
  }
  for (int i = 0; i < request->feed_count; i++) TF_DeleteTensor(request->given[i]);
}

int main(int count, char **arguments) {
  if (count < 3) fail("usage", "run_saved_model FOLDER REQUEST [-- REQUEST]...");
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, arguments[1], tags, 1, graph, NULL, status);
  if (TF_GetCode(status) != TF_OK) fail("cannot load", TF_Message(status));
  Request request = {0};
  for (int i = 2; i <= count; i++) {
    if (i < count && strcmp(arguments[i], "--")) {
      add(&request, graph, arguments[i]);
      continue;
    }
    run(&request, session, status);
    memset(&request, 0, sizeof request);
  }
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
