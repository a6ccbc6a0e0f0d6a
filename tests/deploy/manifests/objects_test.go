// Package manifests checks deploy/: what kustomize and Helm make of it, against the schemas that
// Kubernetes publishes, the pod security standards, and the configuration that the hub knows.
package manifests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const deploy = "../../../deploy"

// object is one manifest as the API server would see it.
type object map[string]any

func (o object) kind() string       { return o["kind"].(string) }
func (o object) apiVersion() string { return o["apiVersion"].(string) }
func (o object) name() string       { return o["metadata"].(map[string]any)["name"].(string) }
func (o object) id() string         { return o.kind() + "/" + o.name() }

// into decodes strictly: an unknown or doubled field is an error.
func (o object) into(t *testing.T, target any) {
	t.Helper()
	text, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, target); err != nil {
		t.Errorf("%s: %v", o.id(), err)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{deploy}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func kustomized(t *testing.T, overlay string) []object {
	t.Helper()
	kustomizer := krusty.MakeKustomizer(krusty.MakeDefaultOptions())
	folder := filepath.Join(deploy, "kubernetes", "overlays", overlay)
	made, err := kustomizer.Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatalf("kustomize %s: %v", overlay, err)
	}
	var objects []object
	for _, resource := range made.Resources() {
		whole, err := resource.Map()
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, whole)
	}
	return objects
}

func helmed(t *testing.T, values map[string]any) []object {
	t.Helper()
	objects, err := render(values)
	if err != nil {
		t.Fatalf("helm: %v", err)
	}
	return objects
}

func render(values map[string]any) ([]object, error) {
	chart, err := loader.Load(filepath.Join(deploy, "helm", "hubbub"))
	if err != nil {
		return nil, err
	}
	options := chartutil.ReleaseOptions{Name: "hubbub", Namespace: "hubbub", IsInstall: true}
	capabilities := *chartutil.DefaultCapabilities
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}
	whole, err := chartutil.ToRenderValues(chart, values, options, &capabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{Strict: true}.Render(chart, whole)
	if err != nil {
		return nil, err
	}
	var objects []object
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			continue
		}
		for _, document := range regexp.MustCompile(`(?m)^---$`).Split(text, -1) {
			var one object
			if err := yaml.UnmarshalStrict([]byte(document), &one); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", name, err, document)
			}
			if one != nil {
				objects = append(objects, one)
			}
		}
	}
	return objects, nil
}

// flavours are all the ways in which the manifests are made.
func flavours(t *testing.T) map[string][]object {
	t.Helper()
	return map[string][]object{
		"kustomize dev":        kustomized(t, "dev"),
		"kustomize production": kustomized(t, "production"),
		"helm":                 helmed(t, nil),
		"helm, all else": helmed(t, map[string]any{
			"existingSecret": "elsewhere",
			"extraEnv":       []any{map[string]any{"name": "HUBBUB__ROOMS__POLICY", "value": "open"}},
			"autoscaling":    map[string]any{"enabled": false},
			"ingress":        map[string]any{"tlsSecret": "", "annotations": map[string]any{"a/b": "c"}},
			"networkPolicy": map[string]any{"extraEgress": []any{
				map[string]any{"ports": []any{map[string]any{"port": 443}}}}},
			"nodeSelector":   map[string]any{"pool": "hubs"},
			"tolerations":    []any{map[string]any{"key": "hubs", "operator": "Exists"}},
			"podAnnotations": map[string]any{"a/b": "c"},
			"image": map[string]any{"tag": "1.2.3", "pullPolicy": "Always",
				"pullSecrets": []any{map[string]any{"name": "pull"}}},
		}),
		"helm, half of it": helmed(t, map[string]any{
			"ingress":       map[string]any{"enabled": false},
			"networkPolicy": map[string]any{"enabled": false},
			"monitoring":    map[string]any{"enabled": false},
			"autoscaling":   map[string]any{"connections": ""},
		}),
	}
}

func find(t *testing.T, objects []object, kind, name string) object {
	t.Helper()
	var ids []string
	for _, one := range objects {
		if one.kind() == kind && strings.HasPrefix(one.name(), name) {
			return one
		}
		ids = append(ids, one.id())
	}
	sort.Strings(ids)
	t.Fatalf("no %s/%s among %v", kind, name, ids)
	return nil
}

func deployment(t *testing.T, objects []object) appsv1.Deployment {
	t.Helper()
	var whole appsv1.Deployment
	find(t, objects, "Deployment", "hubbub").into(t, &whole)
	return whole
}

// hub runs the binary without any configuration from outside.
func hub(environment []string, arguments ...string) (string, error) {
	binary := os.Getenv("HUBBUB_BIN")
	if binary == "" {
		binary = "../../../target/debug/hubbub"
	}
	command := exec.Command(binary, arguments...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environment...)
	said, err := command.CombinedOutput()
	return string(said), err
}
