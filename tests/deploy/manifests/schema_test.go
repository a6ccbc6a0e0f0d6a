package manifests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
)

// The newest release whose OpenAPI documents come with kubectl-validate of SIG CLI.
const schemas = "pkg/openapiclient/builtins/1.29"

// Each object validates against the schema that Kubernetes publishes for it.
func TestPublishedSchemas(t *testing.T) {
	folder := schemaFolder(t)
	compiled := map[string]*jsonschema.Schema{}
	for flavour, objects := range flavours(t) {
		for _, one := range objects {
			if strings.HasPrefix(one.apiVersion(), "monitoring.coreos.com/") {
				continue // a custom resource: see TestStrictTypes
			}
			key := one.apiVersion() + " " + one.kind()
			if compiled[key] == nil {
				compiled[key] = compile(t, folder, one.apiVersion(), one.kind())
			}
			if err := compiled[key].Validate(plain(t, one)); err != nil {
				t.Errorf("%s: %s: %v", flavour, one.id(), err)
			}
		}
	}
	// The validation can fail.
	broken := kustomized(t, "production")
	one := find(t, broken, "Deployment", "hubbub")
	one["spec"].(map[string]any)["minReadySeconds"] = "ten"
	if compiled["apps/v1 Deployment"].Validate(plain(t, one)) == nil {
		t.Error("a text for a number was accepted")
	}
}

func schemaFolder(t *testing.T) string {
	t.Helper()
	said, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kubectl-validate").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(said)), schemas)
}

func compile(t *testing.T, folder, apiVersion, kind string) *jsonschema.Schema {
	t.Helper()
	group, version, found := strings.Cut(apiVersion, "/")
	path := filepath.Join(folder, "apis", group, version+".json")
	if !found {
		path = filepath.Join(folder, "api", apiVersion+".json")
		group, version = "", apiVersion
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	components := document.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)
	for name, schema := range components {
		kinds, _ := schema.(map[string]any)["x-kubernetes-group-version-kind"].([]any)
		for _, one := range kinds {
			gvk := one.(map[string]any)
			if gvk["group"] == group && gvk["version"] == version && gvk["kind"] == kind {
				compiler := jsonschema.NewCompiler()
				compiler.DefaultDraft(jsonschema.Draft7)
				if err := compiler.AddResource("k8s.json", document); err != nil {
					t.Fatal(err)
				}
				schema, err := compiler.Compile("k8s.json#/components/schemas/" + name)
				if err != nil {
					t.Fatal(err)
				}
				return schema
			}
		}
	}
	t.Fatalf("no schema for %s %s", apiVersion, kind)
	return nil
}

// plain is the object as JSON has it.
func plain(t *testing.T, one object) any {
	t.Helper()
	text, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// No object has a field that its API does not know.
func TestStrictTypes(t *testing.T) {
	for flavour, objects := range flavours(t) {
		seen := 0
		for _, one := range objects {
			targets := map[string]any{
				"v1 ConfigMap":                            &corev1.ConfigMap{},
				"v1 Namespace":                            &corev1.Namespace{},
				"v1 Secret":                               &corev1.Secret{},
				"v1 Service":                              &corev1.Service{},
				"v1 ServiceAccount":                       &corev1.ServiceAccount{},
				"apps/v1 Deployment":                      &appsv1.Deployment{},
				"apps/v1 StatefulSet":                     &appsv1.StatefulSet{},
				"autoscaling/v2 HorizontalPodAutoscaler":  &autoscalingv2.HorizontalPodAutoscaler{},
				"networking.k8s.io/v1 Ingress":            &networkingv1.Ingress{},
				"networking.k8s.io/v1 NetworkPolicy":      &networkingv1.NetworkPolicy{},
				"policy/v1 PodDisruptionBudget":           &policyv1.PodDisruptionBudget{},
				"monitoring.coreos.com/v1 ServiceMonitor": &monitoring.ServiceMonitor{},
				"monitoring.coreos.com/v1 PrometheusRule": &monitoring.PrometheusRule{},
			}
			target := targets[one.apiVersion()+" "+one.kind()]
			if target == nil {
				t.Errorf("%s: nobody knows %s %s", flavour, one.apiVersion(), one.kind())
				continue
			}
			one.into(t, target)
			seen++
		}
		if seen < 6 {
			t.Errorf("%s: only %d objects", flavour, seen)
		}
	}
}
