/* Heads of calls and answers, HELLO, addresses; and what is packed comes back. */
#ifndef FUZZ_CODEC_H
#define FUZZ_CODEC_H

static void fuzz_unpack(const uint8_t *data, size_t size)
{
    frn_unpack u = { data, data + size, false };
    char       text[40];
    bool       bad;

    for (int i = 0; i < 64; i++) {
        int64_t  n = 0;
        uint64_t v = 0;
        memset(text, 'x', sizeof text);
        bad = u.bad;
        switch (size > 0 ? (data[(size_t)i % size] + i) % 4 : 0) {
        case 0: n = frn_unpack_int(&u); break;
        case 1: v = frn_unpack_uint(&u); break;
        case 2: v = frn_unpack_array(&u, 20); break;
        default: frn_unpack_text(&u, text, sizeof text); break;
        }
        fuzz_must(u.at >= data && u.at <= data + size);
        fuzz_must(!bad || u.bad);
        fuzz_must(!u.bad || ((text[0] == '\0' || text[0] == 'x') && n == 0 && v == 0));
        fuzz_must(text[0] == 'x' || memchr(text, 0, sizeof text) != NULL);
    }
}

/* What is packed comes back, and nothing else. */
static void fuzz_pack(const uint8_t *data, size_t size)
{
    frn_pack   p;
    frn_unpack u;
    frn_buf   *b;
    uint64_t   v = 0;
    char       text[600], back[600];
    size_t     length = size < sizeof text ? size : sizeof text - 1;

    for (size_t i = 0; i < size && i < 8; i++)
        v = v << 8 | data[i];
    memcpy(text, data, length);
    text[length] = '\0';
    memset(&p, 0, sizeof p);
    p.mem = &fuzz.b->mem;
    frn_pack_array(&p, length);
    frn_pack_uint(&p, v);
    frn_pack_int(&p, (int64_t)v);
    frn_pack_text(&p, text);
    frn_pack_text(&p, NULL);
    b = frn_pack_end(&p);
    fuzz_must(b != NULL);
    u.at = (const unsigned char *)FRN_BYTES(b);
    u.end = u.at + b->size;
    u.bad = false;
    fuzz_must(frn_unpack_array(&u, length) == length);
    fuzz_must(frn_unpack_uint(&u) == v);
    fuzz_must(frn_unpack_int(&u) == (int64_t)v);
    frn_unpack_text(&u, back, sizeof back);
    fuzz_must(strcmp(back, text) == 0);
    frn_unpack_text(&u, back, sizeof back);
    fuzz_must(back[0] == '\0' && !u.bad && u.at == u.end);
    frn_buf_drop(&fuzz.b->mem, b);
}

static void fuzz_heads(const uint8_t *data, size_t size)
{
    static francis_host host;       /* only its memory is asked for */
    static frn_head     call;
    frn_answer_head     answer;
    frn_buf            *b = frn_buf_copy(&fuzz.b->mem, data, size);

    memset(&host, 0, sizeof host);
    host.mem = fuzz.b->mem;
    fuzz_must(b != NULL);
    if (frn_answer_unpack(b, &answer))
        fuzz_must(frn_result_known(answer.result));
    if (frn_head_unpack(&host, b, &call) == FRANCIS_OK)
        fuzz_must(call.left_ms >= FRANCIS_FOREVER && call.expire_ms >= 0);
    frn_chain_drop(&host, call.chain);
    fuzz.b->mem.used = host.mem.used;
    frn_buf_drop(&fuzz.b->mem, b);
}

static void fuzz_hello(const uint8_t *data, size_t size)
{
    unsigned char out[FRN_HELLO_FIXED + FRN_HOST_ID_SIZE];
    frn_frame     f;
    frn_hello     h, again;

    memset(&f, 0, sizeof f);
    f.type = FRN_FRAME_HELLO;
    f.size = size;
    f.data = data;
    if (frn_wire_fault(&f) != NULL || frn_wire_get_hello(&f, &h) != NULL)
        return;
    f.size = frn_wire_put_hello(out, &h);
    f.data = out;
    fuzz_must(frn_wire_get_hello(&f, &again) == NULL && strcmp(h.id, again.id) == 0);
    fuzz_must(f.size <= size && memcmp(out, data, f.size) == 0);
}

static void fuzz_address(const uint8_t *data, size_t size)
{
    char address[300], host[FRANCIS_NAME_SIZE], port[6], again[400];

    if (size >= sizeof address)
        return;
    memcpy(address, data, size);
    address[size] = '\0';
    if (!frn_addr_split(address, host, port))
        return;
    (void)snprintf(again, sizeof again, address[0] == '[' ? "[%s]:%s" : "%s:%s", host, port);
    fuzz_must(strcmp(again, address) == 0 && atoi(port) <= 65535);
}

static void fuzz_codec(const uint8_t *data, size_t size)
{
    memset(&fuzz, 0, sizeof fuzz);
    fuzz.b = fuzz_base_new(data, size);
    fuzz_unpack(data, size);
    fuzz_pack(data, size);
    fuzz_heads(data, size);
    fuzz_hello(data, size);
    fuzz_address(data, size);
    base_free(fuzz.b);
}

#endif
