#include "text/jinja/jinja.h"

#include <cstdio>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"
#include "base/file.h"

namespace minke::jinja {
namespace {

std::tm parse_time(const std::string& text) {  // 2025-07-04T12:34:56
  std::tm time{};
  EXPECT_EQ(std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d", &time.tm_year, &time.tm_mon, &time.tm_mday,
                        &time.tm_hour, &time.tm_min, &time.tm_sec),
            6);
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  timegm(&time);  // sets the days of week and year
  return time;
}

std::string render(std::string_view source, const Json& context = JsonObject{}, RenderOptions options = {}) {
  return plain(Template::parse(source).render(context, options));
}

std::string error_of(std::string_view source, const Json& context = JsonObject{},
                     RenderOptions options = {}) {
  try {
    return "no error but " + render(source, context, options).substr(0, 200);
  } catch (const Error& e) {
    return e.what();
  }
}

// Pieces as "template[given]template".
std::string marks(std::string_view source, const Json& context) {
  std::string out;
  for (const Piece& piece : Template::parse(source).render(context, {}))
    out += piece.given ? "[" + piece.text + "]" : piece.text;
  return out;
}

TEST(Jinja, GoldenCases) {
  const Json golden = parse_json(read_file(MINKE_TESTS_DIR "/golden/jinja/cases.json"));
  RenderOptions options;
  options.now = parse_time(golden.at("now").as_string());
  const JsonArray& cases = golden.at("cases").as_array();
  for (const Json& one : cases) {
    const std::string& source = one.at("template").as_string();
    std::string rendered, error;
    try {
      rendered = render(source, golden.at("context"), options);
    } catch (const Error& e) {
      error = e.what();
    }
    if (one.find("error")) {
      EXPECT_FALSE(error.empty()) << source << "\ngave " << rendered;
    } else {
      EXPECT_EQ(error, "") << source;
      EXPECT_EQ(rendered, one.at("rendered").as_string()) << source;
    }
  }
  EXPECT_EQ(cases.size(), 150u);
}

// What golden does not show; the results are jinja2 3.1.6's.
TEST(Jinja, Details) {
  const Json context(JsonObject{{"xs", JsonArray{3, 1, 2}}, {"s", "  Hello, World  "}, {"u", "żółć ß"}});
  const std::pair<const char*, const char*> kCases[] = {
      {"{{ xs|reverse|first }}{{ 'abc'|batch(2)|list }}", "2[['a', 'b'], ['c']]"},
      {"{{ s.split() }}{{ s.rsplit(none, 1) }}{{ 'a,b,c'.rsplit(',', 1) }}",
       "['Hello,', 'World']['  Hello,', 'World']['a,b', 'c']"},
      {"{{ u|upper }} {{ u.title() }} {{ 'ΟΔΟΣ'|lower }} {{ 'ﬁx'.capitalize() }}",
       "ŻÓŁĆ SS Żółć Ss οδος Fix"},
      {"{{ 'x'.center(4, '*') }}|{{ 'ab'.center(5) }}|{{ '-7'.zfill(4) }}", "*x**|  ab |-007"},
      {"{{ 'a-b-a'.find('a', 1) }}{{ 'a-b-a'.rfind('a') }}{{ 'żół'.index('ł') }}{{ 'aaa'.count('a') }}",
       "4423"},
      {"{{ '{:>5}|{:<4}|{:^5}|{:05d}|{:.2f}|{:,}'.format('a', 1, 'b', 42, 3.14159, 1234567) }}",
       "    a|1   |  b  |00042|3.14|1,234,567"},
      {"{{ '{0} {a.b} {l[1]!r}'.format(1, a={'b': 2}, l=[0, 'x']) }}", "1 2 'x'"},
      {"{{ '%5.1f|%-4d|%04x|%+d|%s|%r|%%' % (2.25, 7, 255, 3, 'é', \"it's\") }}",
       "  2.2|7   |00ff|+3|é|\"it's\"|%"},
      {"{{ '%(a)s-%(b)d' % {'a': 'x', 'b': 2} }}", "x-2"},
      {"{{ 'a\nb\n\nc'|indent(2, first=true) }}", "  a\n  b\n\n  c"},
      {"{{ 'one two three four'|truncate(11) }}|{{ 'one two'|wordcount }}", "one two...|2"},
      {"{{ [{'r': 'b', 'n': 1}, {'r': 'a', 'n': 2}, {'r': 'b', 'n': "
       "3}]|groupby('r')|map('last')|map('length')|list }}",
       "[1, 2]"},
      {"{% for k, g in [{'r': 'b'}, {'r': 'A'}]|groupby('r') %}{{ k }}{{ g|length }}{% endfor %}", "A1b1"},
      {"{% for g in [{'r': 'b'}]|groupby('r') %}{{ g.grouper }}{{ g.list|length }}{% endfor %}", "b1"},
      {"{% for x in [[1, [2, [3]]], 4] recursive %}{{ x if x is not iterable else '(' ~ loop(x) ~ ')' }}{% "
       "endfor %}",
       "(1(2(3)))4"},
      {"{% macro m(a, b=a ~ '!') %}{{ a }}{{ b }}{% endmacro %}{{ m('x') }}{{ m(*['y'], **{'b': 'z'}) }}",
       "xx!yz"},
      {"{% macro m(x) %}{{ caller(x) }}{% endmacro %}{% call(y) m(2) %}<{{ y * 2 }}>{% endcall %}", "<4>"},
      {"{% set g = xs|map('string') %}{{ g|list }}{{ g|list }}", "['3', '1', '2'][]"},
      {"{{ 'yes' if xs|select('gt', 9) else 'no' }}{{ (xs|select('gt', 9)|list)|length }}", "yes0"},
      {"{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% else %}none{% endfor %}", "32"},
      {"{% for x in xs %}{% continue %}{% else %}none{% endfor %}", "none"},
      {"{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}", "2"},
      {"{{ 7.0 // 2 }} {{ -7 % 3.5 }} {{ 2 ** -1 }} {{ 1e16 }} {{ 1e-5 }} {{ 123456789012345678 }}",
       "3.0 0.0 0.5 1e+16 1e-05 123456789012345678"},
      {"{{ 1_000 + 0x1f + 0b11 + 0o7 }} {{ '0x1f'|int(0, 16) }} {{ '1_0'|int }} {{ ' 2.5 '|float }}",
       "1041 31 10 2.5"},
      {"{{ (0.1 + 0.2)|round(2) }} {{ 2.675|round(2) }} {{ 15|round(-1) }} {{ 2.5|round(0, 'floor') }}",
       "0.3 2.67 20 2.0"},
      {"{{ x if x is defined else 'd' }}{{ (y.z is defined) if y is defined }}", "d"},
      {"{% if x is defined and x is unheard_of %}a{% endif %}{{ 'b' | nofilter if false else 'c' }}", "c"},
      {"{{ range(5)[1:4] }}{{ range(5)|last }}{{ 2 in range(3) }}{{ range(3) == range(0, 3) }}",
       "range(1, 4)4TrueTrue"},
      {"{{ {'a': 1}.items() }}{{ {'a': 1}.keys() }}{{ {'b': 1, 'a': 2}|dictsort }}",
       "dict_items([('a', 1)])dict_keys(['a'])[('a', 2), ('b', 1)]"},
      {"{{ '<a>'|e ~ '<b>' }}{{ ('<a>'|e) + '<b>' }}", "&lt;a&gt;<b>&lt;a&gt;&lt;b&gt;"},
      {"{% set ns = namespace(n=none) %}{% set ns.n = ns %}{% set ns.m = [ns.n] %}{{ ns.m|length }}", "1"},
      {"{{ {1: 'a', 1.0: 'b', true: 'c'} }}{{ [1, [2]] == [1.0, [2]] }}{{ 'b' > 'a' > '' }}",
       "{1: 'c'}TrueTrue"},
      {"{{ '\\x41\\u00e9\\101\\\n|\\d' }}", "AéA|\\d"},
      {"{% set a %}x{% endset %}{% set b | upper %}y{{ a }}{% endset %}{{ b }}", "YX"},
      {"{% print 1, 'a' %}{% with %}{% set q = 1 %}{% endwith %}{{ q is defined }}", "1aFalse"},
      {"a {% raw -%} {{ x }} {%- endraw %} b", "a {{ x }} b"},
  };
  for (const auto& [source, expected] : kCases) EXPECT_EQ(render(source, context), expected) << source;
}

TEST(Jinja, ErrorsNameTheLine) {
  EXPECT_EQ(error_of("a\n{{ 1 }}\n{{ x.y }}"), "chat template: line 3: 'x' is undefined");
  EXPECT_EQ(error_of("a\n{% if x %}\n{% endfor %}"),
            "chat template: line 3: Encountered unknown tag 'endfor' where 'if' needs to be closed");
  EXPECT_EQ(error_of("a\n\n{{ raise_exception('no ' ~ 1) }}"), "chat template: line 3: no 1");
  EXPECT_EQ(error_of("{% macro m() %}\n{{ 1 + 'a' }}{% endmacro %}\n\n{{ m() }}"),
            "chat template: line 2: unsupported operand type(s) for +: 'int' and 'str'");
  EXPECT_EQ(error_of("\n{{ strftime_now('%Y') }}"),
            "chat template: line 2: the template asks for the time, and none was given");
  EXPECT_EQ(error_of("{% include 'x' %}"),
            "chat template: line 1: the tag 'include' is not for chat templates: they stand alone");
  EXPECT_EQ(error_of("{{ 'a' | urlize }}"), "chat template: line 1: No filter named 'urlize'");
}

TEST(Jinja, EveryCharacterKeepsItsMark) {
  const Json context(JsonObject{{"g", "Given <x>"},
                                {"n", 5},
                                {"t", true},
                                {"l", JsonArray{"p", "q"}},
                                {"bos_token", "<s>"},
                                {"d", Json(JsonObject{{"key", "value"}})}});
  const std::pair<const char*, const char*> kCases[] = {
      {"a{{ g }}b{{ bos_token }}", "a[Given <x>]b<s>"},
      {"{{ ('a' + g + 'b')[1:3] }}|{{ ('a' ~ g)[::-1] }}|{{ ('a' ~ g)[0] }}{{ ('a' ~ g)[1] }}",
       "[Gi]|[>x< neviG]a|a[G]"},
      {"{{ ('  a ' ~ ' ' ~ g ~ ' ')|trim }}", "a  [Given <x>]"},
      {"{{ ('x,' ~ g ~ ',y').split(',') | join('-') }}", "x-[Given <x>]-y"},
      {"{{ g.replace('<x>', '</s>') }} {{ 'a-b'.replace('-', g[0]) }}", "[Given ]</s> a[G]b"},
      {"{{ l | join(', ') }} {{ ', '.join(l) }}", "[p], [q] [p], [q]"},
      {"{% for c in 'a' ~ g[0] %}{{ c }};{% endfor %}", "a;[G];"},
      {"{{ g | upper }}{{ ('a' ~ g[0]) | upper }}{{ 'a' | upper }}", "[GIVEN <X>]A[G]A"},
      {"{{ d | tojson }}{{ {'a': 1} | tojson }}{{ {'a': g} | tojson }}",
       "[{\"key\": \"value\"}]{\"a\": 1}[{\"a\": \"Given <x>\"}]"},
      {"{{ d }}{{ [1] }}{{ [g[0]] }}", "[{'key': 'value'}][1][['G']]"},
      {"{{ n }}{{ n + 1 }}{{ 1 + 1 }}{{ n | string }}{{ t }}{{ g | length }}", "[56]2[5True9]"},
      {"{{ '<%s>' % g }}{{ '<{}>'.format(n) }}{{ '%d' % n }}{{ g | format }}",
       "<[Given <x>]><[5]>[5Given <x>]"},
      {"{% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}", "[key]=[value]"},
      {"{% set x %}a{{ g }}{% endset %}{{ x }}{% macro m(y) %}<{{ y }}>{% endmacro %}{{ m(g[0]) }}",
       "a[Given <x>]<[G]>"},
      {"{% filter indent(2) %}a\n{{ g[0] }}\nb{% endfilter %}", "a\n  [G]\n  b"},
      {"{{ (g ~ '<s>') | e }}", "[Given &lt;x&gt;]&lt;s&gt;"},
      {"{{ (l | first) ~ (l | last) ~ ('ab' | first) }}", "[pq]a"},
  };
  for (const auto& [source, expected] : kCases) EXPECT_EQ(marks(source, context), expected) << source;
}

// A text as its characters, each with its mark: what the operations must agree with.
using Marked = std::vector<std::pair<std::string, bool>>;

Marked characters(const Pieces& pieces) {
  Marked out;
  for (const Piece& piece : pieces)
    for (size_t i = 0; i < piece.text.size(); ++i) {
      if ((static_cast<unsigned char>(piece.text[i]) & 0xc0) == 0x80)
        out.back().first += piece.text[i];
      else
        out.emplace_back(std::string(1, piece.text[i]), piece.given);
    }
  return out;
}

RC_GTEST_PROP(JinjaMarks, OperationsKeepThem, ()) {
  // A text of template and given runs over a small alphabet, as a template prints it: 'ab' ~ g0 ~ 'c' ~ g1
  // ...
  const auto run = rc::gen::map(rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 5)),
                                [](const std::vector<int>& v) {
                                  std::string text;
                                  for (const int c : v)
                                    text += std::array{"a", "b", " ", ",", "é"}[static_cast<size_t>(c)];
                                  return text;
                                });
  const auto runs = *rc::gen::container<std::vector<std::pair<std::string, bool>>>(
      rc::gen::pair(run, rc::gen::arbitrary<bool>()));
  Json context(JsonObject{});
  std::string mixed = "''";
  Marked all;
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto& [text, given] = runs[i];
    context.set(fmt::format("g{}", i), text);
    mixed += given ? fmt::format(" ~ g{}", i) : fmt::format(" ~ '{}'", text);
    for (const auto& one : characters({{given, text}})) all.push_back(one);
  }
  const auto of = [&](const std::string& use) {
    return characters(Template::parse("{% set x = " + mixed + " %}{{ " + use + " }}").render(context, {}));
  };
  RC_ASSERT(of("x") == all);
  Marked reversed(all.rbegin(), all.rend());
  RC_ASSERT(of("x[::-1]") == reversed);
  RC_ASSERT(of("x | list | join") == all);
  RC_ASSERT(of("x.replace('a', 'a')").size() == all.size());
  const auto size = static_cast<int>(all.size());
  const int from = *rc::gen::inRange(-size - 1, size + 2), to = *rc::gen::inRange(-size - 1, size + 2);
  const auto place = [&](int i) { return std::clamp(i < 0 ? i + size : i, 0, size); };
  const Marked slice(all.begin() + place(from), all.begin() + std::max(place(from), place(to)));
  RC_ASSERT(of(fmt::format("x[{}:{}]", from, to)) == slice);
  Marked trimmed = all;
  while (!trimmed.empty() && trimmed.back().first == " ") trimmed.pop_back();
  while (!trimmed.empty() && trimmed.front().first == " ") trimmed.erase(trimmed.begin());
  RC_ASSERT(of("x | trim") == trimmed);
  Marked joined = all;  // the commas now come from the template
  for (auto& [c, given] : joined)
    if (c == ",") given = false;
  RC_ASSERT(of("x.split(',') | join(',')") == joined);
  RC_ASSERT(of("x.replace(',', ',')") == joined);
  RC_ASSERT(of("x.rsplit(',', 1) | join(',')").size() == all.size());
}

std::string repeated(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

TEST(JinjaHostile, NestingIsBounded) {
  constexpr size_t kDeep = 10'000;
  const std::pair<const char*, const char*> kPairs[] = {{"(", ")"},   {"[", "]"}, {"{1: ", "}"},
                                                        {"not ", ""}, {"-", ""},  {"1 if 1 else ", ""},
                                                        {"f(", ")"},  {"x[", "]"}};
  for (const auto& [open, close] : kPairs)
    EXPECT_NE(error_of("\n{{ " + repeated(open, kDeep) + "1" + repeated(close, kDeep) + " }}")
                  .find("line 2: the template is nested too deep"),
              std::string::npos)
        << open;
  EXPECT_NE(error_of(repeated("{% if 1 %}", kDeep)).find("nested too deep"), std::string::npos);
  EXPECT_NE(error_of(repeated("{% for x in [1] %}", kDeep)).find("nested too deep"), std::string::npos);
  EXPECT_NE(error_of("{% for " + repeated("(", kDeep) + "a" + repeated(")", kDeep) + " in b %}{% endfor %}")
                .find("nested too deep"),
            std::string::npos);
  // Chains are parsed in a loop: they may be long, but what makes deep trees of them is refused when it is
  // evaluated.
  EXPECT_EQ(render("{{ 0" + repeated(" + 1", kDeep) + " }}"), "10000");
  EXPECT_EQ(render("{{ ''" + repeated(" ~ 'a'", kDeep) + " }}").size(), kDeep);
  EXPECT_NE(error_of("{{ x" + repeated(".a", kDeep) + " }}").find("nested too deep"), std::string::npos);
  EXPECT_NE(error_of("{{ 'x'" + repeated("|trim", kDeep) + " }}").find("nested too deep"), std::string::npos);
  EXPECT_NE(
      error_of("{% filter trim" + repeated("|trim", kDeep) + " %}{% endfilter %}").find("nested too deep"),
      std::string::npos);
}

TEST(JinjaHostile, RecursionIsBounded) {
  EXPECT_NE(error_of("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}").find("nested too deep"),
            std::string::npos);
  EXPECT_NE(error_of("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}").find("nested too deep"),
            std::string::npos);
  EXPECT_NE(error_of("{% macro m() %}{% call m() %}{% endcall %}{{ caller() }}{% endmacro %}{{ m() }}")
                .find("nested too deep"),
            std::string::npos);
  EXPECT_NE(error_of("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}").find("nested too deep"),
            std::string::npos);
  EXPECT_NE(error_of("{% set ns = namespace(a=1) %}{% for i in range(1000) %}{% set ns.a = [ns.a] %}{% "
                     "endfor %}{{ ns.a }}")
                .find("nested more than"),
            std::string::npos);
  EXPECT_NE(
      error_of("{{ [[[['x']]]]|map('map', 'map', 'map', 'map', 'upper')|list }}").find("cannot be printed"),
      std::string::npos);
}

TEST(JinjaHostile, TimeIsBounded) {
  RenderOptions options;
  options.limits.steps = 200'000;
  const char* const kEndless[] = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% set s = 'a' * 100000 %}{% for a in range(99999) %}{% set t = s | upper %}{% endfor %}",
      "{% set s = 'a' * 100000 %}{% for a in range(99999) %}{{ 'b' in s }}{% endfor %}",
      "{% set s = ('a' * 100000).split('b') %}{% for a in range(99999) %}{% if s == s[:] %}{% endif %}{% "
      "endfor %}",
      "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
      "{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
      "ns.x | tojson }}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
      "ns.x }}",
      "{{ range(99999) | unique | list | length }}",
      "{% set s = 'a' * 1000 %}{% for i in range(99999) %}{{ s.find(s[1:] ~ 'b') }}{% endfor %}",
  };
  for (const char* source : kEndless)
    EXPECT_NE(error_of(source, JsonObject{}, options).find("did not end within 200000 steps"),
              std::string::npos)
        << source << "\n"
        << error_of(source, JsonObject{}, options);
}

TEST(JinjaHostile, MemoryIsBounded) {
  RenderOptions options;
  options.limits.bytes = 1 << 20;
  const char* const kBig[] = {
      "{{ 'a' * 10**9 }}",
      "{{ [0] * 10**9 }}",
      "{{ 10**9 * 'a' }}",
      "{{ 'a'.center(10**9) }}",
      "{{ 'a'.ljust(10**18) }}",
      "{{ 'a' | center(10**9) }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ '{:1000000000}'.format(1) }}",
      "{{ '\\t'.expandtabs(10**9) }}",
      "{{ 'a'.zfill(10**9) }}",
      "{{ {'a': 1} | tojson(indent=10**9) }}",
      "{{ 'a' | indent(10**9) }}",
      "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
      "{{ ('a' * 1000000) | list }}",
      "{{ ('a ' * 400000).split() }}",
      "{{ ('a,' * 400000).split(',') }}",
      "{{ ('\\n' * 500000).splitlines() }}",
      "{% set ns = namespace(s='a') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
      "{% set ns = namespace(s='a') %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% for i in range(99999) %}{{ 'a' * 100 }}{% endfor %}",
      "{% set x %}{% for i in range(99999) %}{{ 'a' * 100 }}{% endfor %}{% endset %}",
      "{{ [1] | batch(10**9, 0) | list }}",
      "{{ ('a' * 900000) | join('b' * 1000) }}",
      "{% for i in range(99999) %}{% macro m() %}{% endmacro %}{% set a = 1 %}{% endfor %}",
  };
  for (const char* source : kBig)
    EXPECT_NE(error_of(source, JsonObject{}, options).find("bytes more than the"), std::string::npos)
        << source << "\n"
        << error_of(source, JsonObject{}, options);
  EXPECT_NE(error_of("{{ range(10**9) }}").find("at most 100000 are allowed"), std::string::npos);
  EXPECT_NE(error_of("{{ 2 ** 1000 }}").find("beyond 128 bits"), std::string::npos);
  EXPECT_NE(error_of(std::string(2 << 20, 'a')).find("at most 1048576 are allowed"), std::string::npos);
  EXPECT_NE(error_of("\xff").find("not valid UTF-8"), std::string::npos);
}

TEST(Jinja, TellsWhatIsGenerated) {
  const Template parsed = Template::parse(
      "a{% generation %}b{{ x }}{% endgeneration %}c{% generation %}{% endgeneration %}"
      "{% set s %}{% generation %}d{% endgeneration %}{% endset %}{{ s }}{% generation %}e{% endgeneration "
      "%}");
  std::vector<TextRun> generated;
  EXPECT_EQ(plain(parsed.render(JsonObject{{"x", "yz"}}, {}, &generated)), "abyzcde");
  EXPECT_EQ(generated, (std::vector<TextRun>{{1, 4}, {6, 7}}));
}

// What a render holds is given back, cycles or not: the leak check of the sanitizer build watches these.
TEST(JinjaHostile, TextsOfTheContextAreUtf8) {
  for (const std::string bad : {"\xc3",
                                "a\xff"
                                "b",
                                "\xed\xa0\x80"})
    for (const char* source : {"{{ bos_token|tojson }}", "{{ bos_token|upper }}", "{{ bos_token }}"})
      EXPECT_NE(error_of(source, JsonObject{{"bos_token", Json(bad)}}).find("is not valid UTF-8"),
                std::string::npos);
}

TEST(JinjaHostile, CyclesDoNotLeak) {
  EXPECT_EQ(render("{% for x in [1] %}{{ loop.changed(loop) }}{{ loop.changed([loop]) }}{% endfor %}"),
            "TrueTrue");
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.a = ns %}{% set ns.b = {'c': [ns]} %}x"), "x");
  EXPECT_EQ(render("{% set ns = namespace() %}{% macro m() %}{{ ns.m is defined }}{% endmacro %}{% set ns.m "
                   "= m %}{{ ns.m() }}"),
            "True");
  EXPECT_NE(error_of("{% set ns = namespace() %}{% for x in [1] %}{% set ns.l = loop %}{% endfor %}{{ "
                     "ns.l.changed(ns.l) }}")
                .find("has ended"),
            std::string::npos);
  EXPECT_EQ(render("{% set ns = namespace() %}{% for x in [1, 2] %}{% macro m() %}{{ x }}{% endmacro %}{% "
                   "set ns.m = m %}{% endfor %}{{ ns.m() }}"),
            "2");
}

}  // namespace
}  // namespace minke::jinja
