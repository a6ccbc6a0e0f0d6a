package manifests

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// Helm and kustomize make the same objects.
func TestHelmMakesWhatKustomizeMakes(t *testing.T) {
	made := func(objects []object) map[string]any {
		same := map[string]any{}
		for _, one := range objects {
			if one.kind() == "Namespace" {
				continue // `helm install --create-namespace`
			}
			text, err := yaml.Marshal(one)
			if err != nil {
				t.Fatal(err)
			}
			// The hash that kustomize adds to names, and what Helm says of itself.
			plain := regexp.MustCompile(`hubbub-config-[a-z0-9]{10}\b`).ReplaceAllString(string(text), "hubbub-config")
			for _, line := range []string{
				`app.kubernetes.io/managed-by: Helm`, `helm.sh/chart: \S+`, `namespace: hubbub`,
				`checksum/config: \S+`,
			} {
				plain = regexp.MustCompile(`(?m)^ +`+line+`\n`).ReplaceAllString(plain, "")
			}
			plain = regexp.MustCompile(`(?m)^ +annotations:(?: null)?\n( +labels:)`).ReplaceAllString(plain, "$1")
			var value any
			if err := yaml.Unmarshal([]byte(plain), &value); err != nil {
				t.Fatal(err)
			}
			same[strings.Split(one.id(), "-config")[0]] = value
		}
		return same
	}
	if diff := cmp.Diff(made(kustomized(t, "production")), made(helmed(t, nil))); diff != "" {
		t.Errorf("kustomize (-), Helm (+):\n%s", diff)
	}
}

// The chart refuses an unknown value's type, and nothing in it depends on the name of the release.
func TestChartIsSound(t *testing.T) {
	if _, err := render(map[string]any{"autoscaling": "no"}); err == nil {
		t.Error("a text for a table was accepted")
	}
	var chart struct{ Version, AppVersion string }
	if err := yaml.Unmarshal([]byte(read(t, "helm", "hubbub", "Chart.yaml")), &chart); err != nil {
		t.Fatal(err)
	}
	version, err := hub(nil, "--version")
	if err != nil {
		t.Fatal(err, version)
	}
	if want := strings.TrimPrefix(strings.TrimSpace(version), "hubbub "); chart.AppVersion != want {
		t.Errorf("appVersion is %s, the binary is %s", chart.AppVersion, want)
	}
}

// The hub takes the configuration file, the arguments and every variable of the pods.
func TestTheHubTakesItsConfiguration(t *testing.T) {
	for flavour, objects := range flavours(t) {
		container := deployment(t, objects).Spec.Template.Spec.Containers[0]
		config := find(t, objects, "ConfigMap", "hubbub-config")["data"].(map[string]any)
		file := filepath.Join(t.TempDir(), "hubbub.toml")
		if err := os.WriteFile(file, []byte(config["hubbub.toml"].(string)), 0o600); err != nil {
			t.Fatal(err)
		}
		mount := container.VolumeMounts[0].MountPath + "/hubbub.toml"
		if cmp.Diff(container.Args, []string{"--config", mount}) != "" {
			t.Errorf("%s: arguments %v do not name %s", flavour, container.Args, mount)
		}
		var environment []string
		for _, variable := range container.Env {
			value := variable.Value
			switch {
			case strings.HasSuffix(variable.Name, "REDIS_URL"):
				value = "redis://127.0.0.1:6379/0"
			case strings.HasSuffix(variable.Name, "ARCHIVE__URL"):
				if optional := variable.ValueFrom.SecretKeyRef.Optional; optional == nil || !*optional {
					t.Errorf("%s: pods need an archive", flavour)
				}
				value = "postgres://hubbub@127.0.0.1/hubbub"
				environment = append(environment, "HUBBUB__ARCHIVE__ROOMS=*")
			case value == "":
				value = strings.Repeat("x", 40)
			}
			environment = append(environment, variable.Name+"="+value)
		}
		said, err := hub(environment, "--config", file, "config")
		if err != nil {
			t.Errorf("%s: %s", flavour, said)
		}
		for _, line := range []string{`listen = "0.0.0.0:8080"`, `format = "json"`} {
			if !strings.Contains(said, line) {
				t.Errorf("%s: no %s in\n%s", flavour, line, said)
			}
		}
		// A key that was renamed would be noticed.
		if said, err := hub(append(environment, "HUBBUB__SERVER__DRAIN_TIME=1"), "--config", file, "config"); err == nil {
			t.Errorf("an unknown key is taken: %s", said)
		}
	}
}

func setting(t *testing.T, objects []object, key string) int64 {
	t.Helper()
	config := find(t, objects, "ConfigMap", "hubbub-config")["data"].(map[string]any)["hubbub.toml"].(string)
	found := regexp.MustCompile(`(?m)^` + key + ` = (\d+)$`).FindStringSubmatch(config)
	if found == nil {
		defaults, err := hub(nil, "config", "--default")
		if err != nil {
			t.Fatal(err)
		}
		if found = regexp.MustCompile(`(?m)^` + key + ` = (\d+)$`).FindStringSubmatch(defaults); found == nil {
			t.Fatalf("no key %s", key)
		}
	}
	value, _ := strconv.ParseInt(found[1], 10, 64)
	return value
}

// The grace period is longer than everything that happens in it.
func TestGraceIsLongerThanTheDrain(t *testing.T) {
	for flavour, objects := range flavours(t) {
		pod := deployment(t, objects).Spec.Template.Spec
		pause := pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds
		drain := (setting(t, objects, "drain_timeout_ms") + 999) / 1000
		if grace := *pod.TerminationGracePeriodSeconds; grace < pause+drain+15 {
			t.Errorf("%s: grace of %d s for %d s of preStop and %d s of drain", flavour, grace, pause, drain)
		}
	}
}

// Ports, probes, services and policies speak of the same thing.
func TestPortsProbesAndSelectorsFit(t *testing.T) {
	for flavour, objects := range flavours(t) {
		whole := deployment(t, objects)
		pod := labels.Set(whole.Spec.Template.Labels)
		container := whole.Spec.Template.Spec.Containers[0]
		port := container.Ports[0]
		if port.ContainerPort != 8080 || port.Name != "http" {
			t.Errorf("%s: port %v", flavour, port)
		}
		paths := map[string]*corev1.Probe{
			"/healthz": container.LivenessProbe, "/readyz": container.ReadinessProbe,
		}
		for path, probe := range paths {
			if probe.HTTPGet.Path != path || probe.HTTPGet.Port.String() != "http" {
				t.Errorf("%s: probe %v", flavour, probe.HTTPGet)
			}
		}
		selectors := map[string]*metav1.LabelSelector{"Deployment": whole.Spec.Selector}
		for _, spread := range whole.Spec.Template.Spec.TopologySpreadConstraints {
			selectors["spread over "+spread.TopologyKey] = spread.LabelSelector
		}
		var budget policyv1.PodDisruptionBudget
		find(t, objects, "PodDisruptionBudget", "hubbub").into(t, &budget)
		selectors["PodDisruptionBudget"] = budget.Spec.Selector
		var service corev1.Service
		find(t, objects, "Service", "hubbub").into(t, &service)
		selectors["Service"] = &metav1.LabelSelector{MatchLabels: service.Spec.Selector}
		for _, one := range objects {
			if one.kind() == "NetworkPolicy" && one.name() == "hubbub" {
				var policy networkingv1.NetworkPolicy
				one.into(t, &policy)
				selectors["NetworkPolicy"] = &policy.Spec.PodSelector
				if open := policy.Spec.Ingress[0].Ports[0].Port.IntVal; open != port.ContainerPort {
					t.Errorf("%s: the policy opens %d", flavour, open)
				}
			}
			if one.kind() == "Ingress" {
				var ingress networkingv1.Ingress
				one.into(t, &ingress)
				for _, path := range ingress.Spec.Rules[0].HTTP.Paths {
					if path.Backend.Service.Name != service.Name || path.Backend.Service.Port.Name != service.Spec.Ports[0].Name {
						t.Errorf("%s: %s leads to %v", flavour, path.Path, path.Backend.Service)
					}
				}
			}
		}
		for what, selector := range selectors {
			parsed, err := metav1.LabelSelectorAsSelector(selector)
			if err != nil || parsed.Empty() || !parsed.Matches(pod) {
				t.Errorf("%s: %s selects %v, pods are %v (%v)", flavour, what, selector, pod, err)
			}
		}
		if spec := whole.Spec.Template.Spec; *spec.AutomountServiceAccountToken || spec.ServiceAccountName != "hubbub" {
			t.Errorf("%s: the pods get a token", flavour)
		}
	}
}

// Proxies wait for longer than a heartbeat and its answer.
func TestIngressWaitsLongEnough(t *testing.T) {
	for flavour, objects := range flavours(t) {
		for _, one := range objects {
			if one.kind() != "Ingress" {
				continue
			}
			var ingress networkingv1.Ingress
			one.into(t, &ingress)
			const prefix = "nginx.ingress.kubernetes.io/"
			for _, name := range []string{"proxy-read-timeout", "proxy-send-timeout"} {
				seconds, _ := strconv.ParseInt(ingress.Annotations[prefix+name], 10, 64)
				beat := setting(t, objects, "heartbeat_ms") + setting(t, objects, "timeout_ms")
				ping := setting(t, objects, "ping_interval_ms") + setting(t, objects, "ping_timeout_ms")
				if seconds*1000 <= max(beat, ping) {
					t.Errorf("%s: %s of %d s", flavour, name, seconds)
				}
			}
			if ingress.Annotations[prefix+"upstream-hash-by"] == "" {
				t.Errorf("%s: polls are not kept on one node", flavour)
			}
		}
	}
}

// Every pod passes the restricted pod security standard, by Kubernetes' own evaluator.
func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	judge := func(meta metav1.ObjectMeta, spec corev1.PodSpec) []string {
		var reasons []string
		for _, result := range evaluator.EvaluatePod(level, &meta, &spec) {
			if !result.Allowed {
				reasons = append(reasons, result.ForbiddenReason+": "+result.ForbiddenDetail)
			}
		}
		return reasons
	}
	for flavour, objects := range flavours(t) {
		for _, one := range objects {
			if one.kind() != "Deployment" && one.kind() != "StatefulSet" {
				continue
			}
			text, err := yaml.Marshal(one["spec"].(map[string]any)["template"])
			if err != nil {
				t.Fatal(err)
			}
			var template corev1.PodTemplateSpec
			if err := yaml.Unmarshal(text, &template); err != nil {
				t.Fatal(err)
			}
			if reasons := judge(template.ObjectMeta, template.Spec); reasons != nil {
				t.Errorf("%s: %s: %v", flavour, one.id(), reasons)
			}
			for _, container := range template.Spec.Containers {
				if !*container.SecurityContext.ReadOnlyRootFilesystem {
					t.Errorf("%s: %s can write to its root", flavour, one.id())
				}
				if container.Resources.Limits.Memory().IsZero() || container.Resources.Requests.Cpu().IsZero() {
					t.Errorf("%s: %s has no bounds", flavour, one.id())
				}
			}
			template.Spec.SecurityContext.RunAsNonRoot = nil
			if judge(template.ObjectMeta, template.Spec) == nil {
				t.Error("the evaluator lets everything pass")
			}
		}
		for _, one := range objects {
			if one.kind() == "Namespace" {
				var namespace corev1.Namespace
				one.into(t, &namespace)
				if namespace.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
					t.Errorf("%s: the namespace enforces nothing", flavour)
				}
			}
		}
	}
}

// The alert rules in the cluster are those that promtool tests.
func TestRulesAreTheSameEverywhere(t *testing.T) {
	rules := read(t, "prometheus", "hubbub.rules.yml")
	if read(t, "helm", "hubbub", "files", "hubbub.rules.yml") != rules {
		t.Error("deploy/helm/hubbub/files/hubbub.rules.yml differs from deploy/prometheus/hubbub.rules.yml")
	}
	var source map[string]any
	if err := yaml.Unmarshal([]byte(rules), &source); err != nil {
		t.Fatal(err)
	}
	spec := find(t, kustomized(t, "production"), "PrometheusRule", "hubbub")["spec"].(map[string]any)
	if diff := cmp.Diff(source["groups"], spec["groups"]); diff != "" {
		t.Errorf("deploy/prometheus (-), PrometheusRule (+):\n%s", diff)
	}
}
