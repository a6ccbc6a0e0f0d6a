package manifests

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

const root = "../../.."

func dockerfile(t *testing.T) ([]instructions.Stage, []string) {
	t.Helper()
	result, err := parser.Parse(strings.NewReader(read(t, "Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	var warnings []string
	lint := linter.New(&linter.Config{
		Warn: func(rule, description, url, message string, location []parser.Range) {
			warnings = append(warnings, rule+": "+message)
		},
	})
	stages, _, err := instructions.Parse(result.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range result.Warnings {
		warnings = append(warnings, warning.Short)
	}
	return stages, warnings
}

// BuildKit's own parser and linter find nothing.
func TestDockerfileIsSound(t *testing.T) {
	stages, warnings := dockerfile(t)
	if warnings != nil {
		t.Error(warnings)
	}
	for _, stage := range stages {
		if strings.HasSuffix(stage.BaseName, ":latest") || !strings.ContainsAny(stage.BaseName+stage.Name, ":") && stage.BaseName != "base" {
			t.Errorf("%s has no version", stage.BaseName)
		}
	}
}

// The last stage runs as nobody, checks its health by itself, and says what it is.
func TestImageIsSafe(t *testing.T) {
	stages, _ := dockerfile(t)
	last := stages[len(stages)-1]
	if !strings.Contains(last.BaseName, "distroless") {
		t.Errorf("built on %s", last.BaseName)
	}
	var user, stop string
	var entry, health []string
	labelled, environment := map[string]string{}, []string{"HUBBUB__AUTH__JWT_SECRET=" + strings.Repeat("x", 40)}
	for _, command := range last.Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.StopSignalCommand:
			stop = c.Signal
		case *instructions.EntrypointCommand:
			entry = c.CmdLine
		case *instructions.HealthCheckCommand:
			health = c.Health.Test
		case *instructions.LabelCommand:
			for _, pair := range c.Labels {
				labelled[pair.Key] = pair.Value
			}
		case *instructions.EnvCommand:
			for _, pair := range c.Env {
				environment = append(environment, pair.Key+"="+pair.Value)
			}
		case *instructions.RunCommand:
			t.Error("RUN in an image without a shell")
		}
	}
	if user != "65532:65532" || stop != "SIGTERM" {
		t.Errorf("user %s, signal %s", user, stop)
	}
	if len(entry) != 1 || len(health) != 3 || health[0] != "CMD" || health[1] != entry[0] || health[2] != "health" {
		t.Errorf("entry %v, health %v", entry, health)
	}
	for _, name := range []string{"title", "description", "licenses", "version", "revision"} {
		if labelled["org.opencontainers.image."+name] == "" {
			t.Errorf("no label %s", name)
		}
	}
	if said, err := hub(environment, "config"); err != nil || !strings.Contains(said, `listen = "0.0.0.0:8080"`) {
		t.Errorf("the hub does not take the image's variables: %s", said)
	}
	if said, err := hub(nil, "health", "--help"); err != nil {
		t.Errorf("no health check: %s", said)
	}
}

// What the build copies is there, is not ignored, and is all that the sources include.
func TestBuildContextIsComplete(t *testing.T) {
	ignore, err := os.Open(filepath.Join(deploy, "Dockerfile.dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer ignore.Close()
	patterns, err := ignorefile.ReadAll(ignore)
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	sent := func(path string) bool {
		ignored, err := matcher.MatchesOrParentMatches(path)
		if err != nil {
			t.Fatal(err)
		}
		return !ignored
	}
	stages, _ := dockerfile(t)
	copied := map[string]bool{}
	for _, stage := range stages {
		for _, command := range stage.Commands {
			c, ok := command.(*instructions.CopyCommand)
			if !ok || c.From != "" {
				continue
			}
			for _, source := range c.SourcePaths {
				if _, err := os.Stat(filepath.Join(root, source)); err != nil || !sent(source) {
					t.Errorf("%s: COPY %s: %v, in the context: %v", stage.Name, source, err, sent(source))
				}
				if stage.Name == "build" {
					copied[source] = true
				}
			}
		}
	}
	for _, path := range []string{"target/debug/hubbub", "tests/run", ".git/HEAD", "web/node_modules/x"} {
		if sent(path) {
			t.Errorf("%s is sent to the builder", path)
		}
	}
	included := regexp.MustCompile(`include_(?:str|bytes)!\("([^"]+)"\)`)
	for _, folder := range []string{"src", "actors/src", "protocol/src"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".rs") || strings.Contains(path, "test") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			code, _, _ := strings.Cut(string(text), "#[cfg(test)]\nmod tests")
			for _, found := range included.FindAllStringSubmatch(code, -1) {
				whole, _ := filepath.Rel(root, filepath.Join(filepath.Dir(path), found[1]))
				covered := false
				for source := range copied {
					covered = covered || whole == source || strings.HasPrefix(whole, source+"/")
				}
				if !covered {
					t.Errorf("%s includes %s, which the build does not copy", path, whole)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func composed(t *testing.T, environment types.Mapping) (*types.Project, error) {
	t.Helper()
	file := filepath.Join(deploy, "compose", "compose.yaml")
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  folder,
		ConfigFiles: []types.ConfigFile{{Filename: file}},
		Environment: environment,
	})
}

// The compose file passes the loader and schema of Docker Compose, and fits the rest.
func TestComposeFits(t *testing.T) {
	secrets := types.Mapping{}
	example := read(t, "compose", ".env.example")
	var names []string
	for _, found := range regexp.MustCompile(`(?m)^(\w+)=$`).FindAllStringSubmatch(example, -1) {
		names = append(names, found[1])
		secrets[found[1]] = strings.Repeat("x", 40)
	}
	project, err := composed(t, secrets)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		less := types.Mapping{}
		for _, other := range names {
			if other != name {
				less[other] = secrets[other]
			}
		}
		if _, err := composed(t, less); err == nil {
			t.Errorf("starts without %s", name)
		}
	}
	upstream := read(t, "nginx", "hubbub", "upstream.conf")
	scraped := read(t, "prometheus", "prometheus.yml")
	hubs := 0
	for name, service := range project.Services {
		if service.SecurityOpt == nil || service.Privileged || strings.HasSuffix(service.Image, ":latest") {
			t.Errorf("%s: %v %s", name, service.SecurityOpt, service.Image)
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind {
				if _, err := os.Stat(volume.Source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if !strings.HasPrefix(name, "hub") {
			continue
		}
		hubs++
		if !strings.Contains(upstream, "server "+name+":8080 ") || !strings.Contains(scraped, "- "+name+":8080") {
			t.Errorf("%s is not in nginx or Prometheus", name)
		}
		if !service.ReadOnly || len(service.CapDrop) == 0 {
			t.Errorf("%s may do too much", name)
		}
		var environment []string
		for variable, value := range service.Environment {
			environment = append(environment, variable+"="+*value)
		}
		said, err := hub(environment, "config")
		if err != nil {
			t.Errorf("%s: %s", name, said)
		}
		drain := regexp.MustCompile(`drain_timeout_ms = (\d+)`).FindStringSubmatch(said)
		limit, _ := time.ParseDuration(drain[1] + "ms")
		if time.Duration(*service.StopGracePeriod) < limit+15*time.Second {
			t.Errorf("%s: %v for a drain of %v", name, *service.StopGracePeriod, limit)
		}
		network := project.Networks["inside"].Ipam.Config[0].Subnet
		if !strings.Contains(said, network) {
			t.Errorf("%s does not trust nginx in %s", name, network)
		}
	}
	if hubs != 3 {
		t.Errorf("%d hubs", hubs)
	}
	redis := strings.Join(project.Services["redis"].Command, " ")
	if !strings.Contains(redis, "--appendonly yes") || !strings.Contains(redis, "--maxmemory-policy noeviction") {
		t.Errorf("Redis forgets: %s", redis)
	}
}
